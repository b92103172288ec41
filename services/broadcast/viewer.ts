/** One viewer: the socket it holds, what it watches, who it says it is, and how much it may ask. */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { TokenBucket } from "../runtime/token-bucket.ts";
import type { Identity } from "../access/tokens.ts";
import { textFrame } from "./frames.ts";
import type { Reader, Subscription } from "./hub.ts";
import { type CloseReason, encodeMessage, type ServerMessage } from "./protocol.ts";

/** Above so much unread a viewer gets no events until it has read all; then the lots as they stand. */
export const BEHIND_BYTES = 64 * 1024;

/** Above so much unread it is closed as slow, */
export const BACKLOG_MAX_BYTES = 1024 * 1024;

/** as is one that stays behind for so long. */
export const BEHIND_MAX_MS = 10_000;

/** Messages that could not be understood, then it is closed. */
export const STRIKES_MAX = 10;

/** What all viewers of a process were sent. Plain numbers: they change a hundred thousand times a second. */
export interface Traffic {
  frames: number;
  bytes: number;
  conflated: number;
}

export interface ViewerEvents {
  readonly fellBehind: () => void;
  readonly close: (reason: CloseReason, hint?: string) => void;
}

export class Viewer implements Reader {
  /** By lotId. */
  readonly watched = new Map<string, Subscription | Resuming>();
  identity: Identity | null = null;
  /** Settles when the token that came last is judged; bids wait for it. */
  authenticating: Promise<unknown> = Promise.resolve();
  bidsInFlight = 0;
  behindSinceMs: number | null = null;
  /** Since the last ping. */
  heard = true;
  closed = false;
  /** What it is told when it goes; null while it stays. */
  #leavingHint: string | null = null;
  #strikes = 0;
  readonly #messages: TokenBucket;
  readonly #socket: Socket;
  readonly #traffic: Traffic;
  readonly #on: ViewerEvents;

  constructor(socket: Socket, traffic: Traffic, messagesPerSecond: number, on: ViewerEvents) {
    this.#socket = socket;
    this.#traffic = traffic;
    this.#messages = new TokenBucket(messagesPerSecond, 2 * messagesPerSecond);
    this.#on = on;
  }

  get behind(): boolean {
    return this.closed || this.behindSinceMs !== null;
  }

  get backlogBytes(): number {
    return this.#socket.writableLength;
  }

  write(frames: Buffer, count: number): void {
    if (this.closed) return;
    this.#socket.write(frames);
    this.#traffic.frames += count;
    this.#traffic.bytes += frames.length;
    const backlog = this.#socket.writableLength;
    if (backlog <= BEHIND_BYTES) return;
    if (this.behindSinceMs === null) {
      this.behindSinceMs = performance.now();
      this.#on.fellBehind();
    }
    if (backlog > BACKLOG_MAX_BYTES) this.close("slow");
  }

  /** Several frames in one call to the kernel. */
  writeAll(frames: readonly Buffer[]): void {
    this.#socket.cork();
    for (const frame of frames) this.write(frame, 1);
    this.#socket.uncork();
  }

  send(message: ServerMessage): void {
    this.write(textFrame(encodeMessage(message)), 1);
  }

  /** A ping, which is no message. */
  writeControl(frame: Buffer): void {
    if (!this.closed) this.#socket.write(frame);
  }

  get leaving(): boolean {
    return this.#leavingHint !== null;
  }

  /** Closes it as soon as its bids under way are answered; those that come from now on are not taken. */
  leave(hint: string): void {
    this.#leavingHint = hint;
    if (this.bidsInFlight === 0) this.close("restarting", hint);
  }

  bidAnswered(): void {
    this.bidsInFlight--;
    if (this.#leavingHint !== null) this.leave(this.#leavingHint);
  }

  /** Nothing is written after it. The socket is gone soon, whether or not the viewer reads. */
  close(reason: CloseReason, hint?: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#on.close(reason, hint);
  }

  /** Counts one message or ping against the rate; closes a viewer that goes beyond it. */
  mayAsk(): boolean {
    if (this.#messages.take()) return true;
    this.close("too_many_messages");
    return false;
  }

  /** Counts a message that was not understood; closes a viewer that goes on so. */
  strike(): void {
    if (++this.#strikes > STRIKES_MAX) this.close("too_many_errors");
  }
}

/** A subscription to be, while what it missed is read; replaced or removed, it is given up. */
export class Resuming {}
