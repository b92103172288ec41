/**
 * Every lot with its latest frames and its subscriptions. It does no I/O: no socket, no store, no clock.
 *
 * An event becomes one frame, once. Each subscription has the index of its next frame; a sweep visits
 * subscriptions and writes to each the frames that it lacks, as one buffer. So frames of a lot reach a reader in
 * order and once, however publishing, sweeping, subscribing and unsubscribing interleave.
 */
import type { LotEvent } from "../lot/events.ts";
import { apply } from "../lot/lifecycle.ts";
import type { Lot } from "../lot/lot.ts";
import { publicEventOf, viewOf } from "../lot/view.ts";
import { compare, follows, type Position } from "../lot/position.ts";
import { textFrame } from "./frames.ts";

/** Frames that a lot keeps for viewers that resume. */
export const KEPT_FRAMES = 256;

/** The start of the next sweep moves by so many subscriptions, so that no reader is always the last. */
const SWEEP_STRIDE = 997;

/** Receives a lot's frames. */
export interface Reader {
  /** Gets whole frames for the wire. Must not subscribe or unsubscribe in this call. */
  write(frames: Buffer, count: number): void;
  /** It has too many unsent bytes: it gets no events until they are sent. */
  readonly behind: boolean;
}

/** Fields of a snapshot besides the lot. */
export interface SnapshotFlags {
  /** In answer to `since`: whether every event after it was sent. False, too, after the store lost events. */
  readonly recovered?: boolean;
  /** Events were left out because the reader was behind. */
  readonly conflated?: true;
}

export interface Subscription {
  readonly reader: Reader;
  readonly channel: Channel;
  index: number;
  /** Index of the next frame. */
  nextFrame: number;
  /** Frames were left out. */
  missed: boolean;
}

/** One lot: its state, its latest frames, its subscriptions. */
class Channel {
  lot: Lot;
  frames: Buffer[] = [];
  /** Index of `frames[0]`: indices count all frames of this channel from 0. */
  firstFrame = 0;
  /** From this index on, every frame is one event, and their `seq` has no gap. */
  resumableFrom = 0;
  subscriptions: Subscription[] = [];
  /** Index of the subscription that the running sweep visits next. */
  sweepIndex = 0;
  /** How many subscriptions the running sweep has yet to visit. */
  sweepLeft = 0;
  #viewText: string | null = null;
  #joined: { at: number; head: number; buffer: Buffer } | null = null;

  constructor(lot: Lot) {
    this.lot = lot;
  }

  get head(): number {
    return this.firstFrame + this.frames.length;
  }

  setLot(lot: Lot): void {
    this.lot = lot;
    this.#viewText = null;
  }

  push(frame: Buffer): void {
    this.frames.push(frame);
    if (this.sweepLeft === 0)
      this.sweepIndex = (this.sweepIndex + SWEEP_STRIDE) % (this.subscriptions.length || 1);
    this.sweepLeft = this.subscriptions.length;
    if (this.sweepLeft === 0) this.trim();
  }

  /** Only between sweeps: no subscription needs the dropped frames. */
  trim(): void {
    const surplus = this.frames.length - KEPT_FRAMES;
    if (surplus < KEPT_FRAMES / 2) return;
    this.frames.splice(0, surplus);
    this.firstFrame += surplus;
    this.resumableFrom = Math.max(this.resumableFrom, this.firstFrame);
  }

  snapshot(nowMs: number, flags: SnapshotFlags): Buffer {
    this.#viewText ??= JSON.stringify({ type: "snapshot", ...viewOf(this.lot) }).slice(0, -1);
    const rest = JSON.stringify({ serverTimeMs: nowMs, ...flags }).slice(1);
    return textFrame(`${this.#viewText},${rest}`);
  }

  /** All frames from an index on, as one buffer. */
  framesFrom(at: number): Buffer {
    if (at === this.head - 1) return this.frames.at(-1)!;
    if (this.#joined?.at === at && this.#joined.head === this.head) return this.#joined.buffer;
    const buffer = Buffer.concat(this.frames.slice(at - this.firstFrame));
    this.#joined = { at, head: this.head, buffer };
    return buffer;
  }

  deliver(subscription: Subscription): void {
    const { reader, nextFrame } = subscription;
    if (nextFrame === this.head) return;
    subscription.nextFrame = this.head;
    if (reader.behind) subscription.missed = true;
    else reader.write(this.framesFrom(nextFrame), this.head - nextFrame);
  }

  /** Visits up to `most` subscriptions. @returns how many */
  sweep(most: number): number {
    const visits = Math.min(this.sweepLeft, most);
    for (let i = 0; i < visits; i++) {
      if (this.sweepIndex >= this.subscriptions.length) this.sweepIndex = 0;
      this.deliver(this.subscriptions[this.sweepIndex++]!);
    }
    this.sweepLeft -= visits;
    if (this.sweepLeft === 0) {
      this.#joined = null;
      this.trim();
    }
    return visits;
  }

  add(reader: Reader): Subscription {
    const index = this.subscriptions.length;
    const subscription = { reader, channel: this, index, nextFrame: this.head, missed: false };
    this.subscriptions.push(subscription);
    if (this.sweepLeft > 0) this.sweepLeft++; // the running sweep has to visit it, too
    return subscription;
  }

  remove({ index }: Subscription): void {
    const moved = this.subscriptions.pop()!;
    this.sweepLeft = Math.min(this.sweepLeft, this.subscriptions.length);
    if (moved.index === index) return;
    this.subscriptions[index] = moved;
    moved.index = index;
    this.deliver(moved); // the sweep may have passed this index already
  }
}

/** The frames of a lot after a position. */
type FramesSince =
  | { readonly found: "frames"; readonly frames: readonly Buffer[] }
  /** The hub has dropped some of them. */
  | { readonly found: "older" }
  /** The position is of an event that this process does not have yet, or that never existed. */
  | { readonly found: "ahead" }
  /** The position is of an earlier epoch. */
  | { readonly found: "other_epoch" };

export class Hub {
  #channels = new Map<string, Channel>();
  #unswept = new Set<Channel>();
  #subscriptions = 0;

  get subscriptions(): number {
    return this.#subscriptions;
  }

  /** Whether a published frame is not written to every subscription yet. */
  get unswept(): boolean {
    return this.#unswept.size > 0;
  }

  get lotIds(): IterableIterator<string> {
    return this.#channels.keys();
  }

  /** How many readers a lot has. */
  readersOf(lotId: string): number {
    return this.#channels.get(lotId)?.subscriptions.length ?? 0;
  }

  /** The position of the lot's latest event in this process; null for a lot that the hub does not have. */
  position(lotId: string): Position | null {
    return this.#channels.get(lotId)?.lot ?? null;
  }

  /**
   * Takes a lot as it was read from the store. A new lot is added. A lot ahead of the hub: events did not reach
   * this process, and its viewers get a snapshot with `recovered: false`. The same position, but another schedule
   * or title: its viewers get a snapshot. A lot behind the hub was read too early: the hub keeps its own.
   */
  put(lot: Lot, nowMs: number): "added" | "reset" | "refreshed" | "kept" {
    const channel = this.#channels.get(lot.lotId);
    if (!channel) {
      this.#channels.set(lot.lotId, new Channel(lot));
      return "added";
    }
    const order = compare(lot, channel.lot);
    if (order < 0) return "kept";
    if (order === 0 && JSON.stringify(viewOf(lot)) === JSON.stringify(viewOf(channel.lot))) {
      channel.lot = lot;
      return "kept";
    }
    channel.setLot(lot);
    this.#push(channel, channel.snapshot(nowMs, order > 0 ? { recovered: false } : {}));
    channel.resumableFrom = channel.head;
    return order > 0 ? "reset" : "refreshed";
  }

  /** Removes a lot with its subscriptions. @returns their readers */
  drop(lotId: string): Reader[] {
    const channel = this.#channels.get(lotId);
    if (!channel) return [];
    this.#channels.delete(lotId);
    this.#unswept.delete(channel);
    this.#subscriptions -= channel.subscriptions.length;
    return channel.subscriptions.splice(0).map(({ reader }) => reader);
  }

  /**
   * Takes events of one lot, in their order, and skips those that it has already. `sweep` writes them. At a gap it
   * stops: the caller has to fill it from the store.
   */
  publish(lotId: string, events: readonly LotEvent[]): "published" | "gap" | "unknown_lot" {
    const channel = this.#channels.get(lotId);
    if (!channel) return "unknown_lot";
    for (const event of events) {
      if (compare(event, channel.lot) <= 0) continue;
      if (!follows(event, channel.lot)) return "gap";
      channel.setLot(apply(channel.lot, event));
      this.#push(channel, textFrame(JSON.stringify(publicEventOf(event))));
    }
    return "published";
  }

  #push(channel: Channel, frame: Buffer): void {
    channel.push(frame);
    if (channel.sweepLeft > 0) this.#unswept.add(channel);
  }

  /**
   * Writes published frames to up to `most` subscriptions, one lot after the other.
   * @returns whether any are left
   */
  sweep(most: number): boolean {
    let left = most;
    for (const channel of this.#unswept) {
      if (left <= 0) break;
      this.#unswept.delete(channel);
      left -= channel.sweep(left);
      if (channel.sweepLeft > 0) this.#unswept.add(channel);
    }
    return this.#unswept.size > 0;
  }

  /** Subscribes to the events from the next one on. Null for a lot that the hub does not have. */
  subscribe(lotId: string, reader: Reader): Subscription | null {
    const channel = this.#channels.get(lotId);
    if (!channel) return null;
    this.#subscriptions++;
    return channel.add(reader);
  }

  unsubscribe(subscription: Subscription): void {
    const { channel, index } = subscription;
    if (channel.subscriptions[index] !== subscription) return;
    this.#subscriptions--;
    channel.remove(subscription);
  }

  /** A snapshot of a lot that the hub has, as a frame. */
  snapshot(lotId: string, nowMs: number, flags: SnapshotFlags = {}): Buffer {
    return this.#channels.get(lotId)!.snapshot(nowMs, flags);
  }

  /** A snapshot for a reader that is no longer behind; null if it missed nothing. */
  conflated(subscription: Subscription, nowMs: number): Buffer | null {
    if (!subscription.missed) return null;
    subscription.missed = false;
    subscription.nextFrame = subscription.channel.head;
    return subscription.channel.snapshot(nowMs, { conflated: true });
  }

  /** The frames after `since` of a lot that the hub has. */
  since(lotId: string, since: Position): FramesSince {
    const { lot, frames, head, resumableFrom } = this.#channels.get(lotId)!;
    if (compare(since, lot) > 0) return { found: "ahead" };
    if (since.epoch !== lot.epoch) return { found: "other_epoch" };
    const count = lot.seq - since.seq;
    if (count > head - resumableFrom) return { found: since.seq < 0 ? "other_epoch" : "older" };
    return { found: "frames", frames: count === 0 ? [] : frames.slice(-count) };
  }
}
