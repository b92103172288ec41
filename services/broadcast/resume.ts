/**
 * Finds the events of a lot that a viewer missed while it was disconnected.
 *
 * The race: new events arrive at the hub while older ones are read from the store. Order settles it, without
 * locks: events are read up to the hub's oldest frame, and where the hub has dropped that frame meanwhile, the
 * reading continues from the last event read. The last comparison with the hub and `done` happen in one turn of
 * the event loop, and `done` subscribes: so no event falls between the missed ones and the live ones, and none
 * comes twice.
 *
 * A viewer may be ahead of this process: it was connected to a process that had more events. Then the hub is
 * brought forward first. Where the store has less, too, the viewer's position never existed, or the store lost
 * events: then a process that has them claims them, or archival restores them under a higher epoch. Until that
 * is settled, the viewer gets no older state of the lot than it has.
 */
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { isUnavailable } from "../access/error-class.ts";
import type { LotEvent } from "../lot/events.ts";
import { publicEventOf } from "../lot/view.ts";
import type { Store } from "../store/connect.ts";
import { eventsSince } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, type StoredAuction } from "../store/lots.ts";
import type { Position } from "../lot/position.ts";
import { readRunId } from "../store/server-identity.ts";
import { textFrame } from "./frames.ts";
import type { Hub } from "./hub.ts";
import type { GapFill } from "./gap-fill.ts";

/** A viewer that missed more events gets a snapshot: so many would fill its socket. */
export const RESUME_MAX_EVENTS = 2_000;

/** Attempts to bring hub and store together; the pauses give a slow store time to answer. */
const ATTEMPTS_MAX = 10;
const RETRY_MS = 400;

/** A process claims events that the store lost within one drift check (2 s) and one call. */
const CLAIMED_WITHIN_MS = 3_000;

/** Concurrent reads; when many viewers reconnect at once, the others wait for their turn. */
const READS_MAX = 8;

/**
 * The missed frames, oldest first; null if not all of them are available: then a snapshot replaces them.
 * "behind": the viewer's position is ahead of this process, and may be right.
 */
export type MissedFrames = readonly Buffer[] | null | "behind";

export class Resume {
  #reads = new Map<string, { wanted: (() => boolean)[]; read: Promise<Read | null> }>();
  #reading = 0;
  #turns: (() => void)[] = [];
  #auctionRead: Promise<StoredAuction | null> | null = null;
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #hub: Hub;
  readonly #gapFill: GapFill;

  constructor(store: Store, keys: Keys, hub: Hub, gapFill: GapFill) {
    this.#store = store;
    this.#keys = keys;
    this.#hub = hub;
    this.#gapFill = gapFill;
  }

  /**
   * Calls `done` once: in the same turn where the hub has all missed frames. Where the store stays unavailable
   * the result is null, or "behind". @throws only for a defect
   * @param wanted false once the viewer no longer waits for it
   */
  async findMissed(
    lotId: string,
    since: Position,
    wanted: () => boolean,
    done: (missed: MissedFrames) => void,
  ): Promise<void> {
    const before: Buffer[] = [];
    let from = since;
    let aheadSinceMs: number | null = null;
    for (let attempt = 0; attempt < ATTEMPTS_MAX && wanted(); attempt++) {
      const position = this.#hub.position(lotId);
      if (position === null) return done(null);
      const missed = this.#hub.since(lotId, from);
      if (missed.found === "frames") return done([...before, ...missed.frames]);
      if (missed.found === "other_epoch") return done(null);
      try {
        if (missed.found === "ahead") {
          await this.#gapFill.fill(lotId);
          if (!this.#isAhead(lotId, from)) continue;
          const nowMs = performance.now();
          aheadSinceMs = (await this.#mayHaveLost(lotId)) ? null : (aheadSinceMs ?? nowMs);
          if (aheadSinceMs !== null && nowMs - aheadSinceMs > CLAIMED_WITHIN_MS) {
            return done(null); // The position never existed.
          }
          await setTimeout(RETRY_MS);
          continue;
        }
        if (position.seq - since.seq > RESUME_MAX_EVENTS) return done(null);
        const read = await this.#read(lotId, from, wanted);
        if (read === null) return done(null);
        before.push(...read.frames);
        from = read.upTo;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        await setTimeout(RETRY_MS);
      }
    }
    done(this.#isAhead(lotId, since) ? "behind" : null);
  }

  #isAhead(lotId: string, seen: Position): boolean {
    return this.#hub.position(lotId) !== null && this.#hub.since(lotId, seen).found === "ahead";
  }

  /**
   * Whether the store may lack events that it had: it was started and not yet compared with the archive, or a
   * process claims more events of this lot. Concurrent calls share one read.
   * @throws when the store does not answer
   */
  async #mayHaveLost(lotId: string): Promise<boolean> {
    this.#auctionRead ??= readAuction(this.#store, this.#keys).finally(
      () => (this.#auctionRead = null),
    );
    const [auction, server] = await Promise.all([this.#auctionRead, readRunId(this.#store)]);
    if (auction === null || auction.ahead.has(lotId)) return true;
    return auction.confirmedServer !== null && auction.confirmedServer !== server;
  }

  /** Viewers at the same position share one read: a thousand may reconnect at once. */
  #read(lotId: string, from: Position, wanted: () => boolean): Promise<Read | null> {
    const name = `${lotId} ${from.epoch} ${from.seq}`;
    const running = this.#reads.get(name);
    if (running) {
      running.wanted.push(wanted);
      return running.read;
    }
    const all = [wanted];
    const read = this.#readInTurn(lotId, from, all).finally(() => this.#reads.delete(name));
    this.#reads.set(name, { wanted: all, read });
    return read;
  }

  /** Skipped where nobody waits for it any more by its turn: repeated subscriptions must not pile up reads. */
  async #readInTurn(
    lotId: string,
    from: Position,
    wanted: readonly (() => boolean)[],
  ): Promise<Read | null> {
    if (this.#reading >= READS_MAX) await new Promise<void>((turn) => this.#turns.push(turn));
    else this.#reading++;
    try {
      if (!wanted.some((each) => each())) return null;
      const events = await eventsSince(this.#store, this.#keys, lotId, from, RESUME_MAX_EVENTS + 1);
      return events && readOf(events, from);
    } finally {
      const next = this.#turns.shift();
      if (next) next();
      else this.#reading--;
    }
  }
}

interface Read {
  readonly frames: readonly Buffer[];
  readonly upTo: Position;
}

/** Null if the epoch changes in between: the lost events are not known. */
function readOf(events: readonly LotEvent[], from: Position): Read | null {
  const last = events.at(-1);
  if (last && last.epoch !== from.epoch) return null;
  return {
    frames: events.map((event) => textFrame(JSON.stringify(publicEventOf(event)))),
    upTo: last ? { epoch: last.epoch, seq: last.seq } : from,
  };
}
