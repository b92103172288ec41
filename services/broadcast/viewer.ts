/** One viewer: its socket, its subscriptions, its identity, and its message rate. */
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { TokenBucket } from "../runtime/token-bucket.ts";
import type { Identity } from "../access/tokens.ts";
import { textFrame } from "./frames.ts";
import type { Reader, Subscription } from "./hub.ts";
import { type CloseReason, encodeMessage, type ServerMessage } from "./protocol.ts";

/** A viewer with more unsent bytes gets no events until its send buffer is empty; then it gets snapshots. */
export const BEHIND_BYTES = 64 * 1024;

/** A viewer with more unsent bytes is closed as slow. */
export const UNSENT_MAX_BYTES = 1024 * 1024;

/** A viewer that stays behind for longer is closed as slow. */
export const BEHIND_MAX_MS = 10_000;

/** Invalid messages and bad tokens of one socket, before it is closed. */
export const ERRORS_MAX = 10;

/** Totals of what this process sent. Plain numbers: they change a hundred thousand times a second. */
export interface Traffic {
  frames: number;
  bytes: number;
  conflated: number;
}

interface ViewerEvents {
  readonly fellBehind: () => void;
  readonly close: (reason: CloseReason, hint?: string) => void;
}

export class Viewer implements Reader {
  /** By lotId. */
  readonly watched = new Map<string, Subscription | PendingSubscription>();
  identity: Identity | null = null;
  /** Resolves when the token sent last is verified; bids wait for it. */
  authenticating: Promise<unknown> = Promise.resolve();
  bidsInFlight = 0;
  behindSinceMs: number | null = null;
  /** Whether the viewer has sent anything since the last ping. */
  hasSentSincePing = true;
  closed = false;
  /** The reason text of its close frame once `closeAfterBids` was called; null before. */
  #closeHint: string | null = null;
  #errors = 0;
  readonly #messages: TokenBucket;
  readonly #socket: Socket;
  readonly #traffic: Traffic;
  readonly #events: ViewerEvents;

  constructor(socket: Socket, traffic: Traffic, messagesPerSecond: number, events: ViewerEvents) {
    this.#socket = socket;
    this.#traffic = traffic;
    this.#messages = new TokenBucket(messagesPerSecond, 2 * messagesPerSecond);
    this.#events = events;
  }

  get behind(): boolean {
    return this.closed || this.behindSinceMs !== null;
  }

  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  write(frames: Buffer, count: number): void {
    if (this.closed) return;
    this.#socket.write(frames);
    this.#traffic.frames += count;
    this.#traffic.bytes += frames.length;
    const unsentBytes = this.#socket.writableLength;
    if (unsentBytes <= BEHIND_BYTES) return;
    if (this.behindSinceMs === null) {
      this.behindSinceMs = performance.now();
      this.#events.fellBehind();
    }
    if (unsentBytes > UNSENT_MAX_BYTES) this.close("slow");
  }

  /** Writes several frames with one system call. */
  writeAll(frames: readonly Buffer[]): void {
    this.#socket.cork();
    for (const frame of frames) this.write(frame, 1);
    this.#socket.uncork();
  }

  send(message: ServerMessage): void {
    this.write(textFrame(encodeMessage(message)), 1);
  }

  /** Writes a control frame (a ping), which no counter counts. */
  writeControl(frame: Buffer): void {
    if (!this.closed) this.#socket.write(frame);
  }

  get isClosing(): boolean {
    return this.#closeHint !== null;
  }

  /** Closes the socket as soon as its pending bids are answered; later bids are not taken. */
  closeAfterBids(hint: string): void {
    this.#closeHint = hint;
    if (this.bidsInFlight === 0) this.close("restarting", hint);
  }

  bidAnswered(): void {
    this.bidsInFlight--;
    if (this.#closeHint !== null) this.closeAfterBids(this.#closeHint);
  }

  /** Nothing is written after the close frame. The socket closes soon, whether or not the viewer reads. */
  close(reason: CloseReason, hint?: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#events.close(reason, hint);
  }

  /** Counts one message or ping against the rate; closes the socket that exceeds it. */
  spendMessage(): boolean {
    if (this.#messages.take()) return true;
    this.close("too_many_messages");
    return false;
  }

  /** Counts an invalid message or a bad token; closes the socket after too many. */
  countError(): void {
    if (++this.#errors > ERRORS_MAX) this.close("too_many_errors");
  }
}

/** Stands for a subscription while its missed events are read; once replaced or removed, it is void. */
export class PendingSubscription {}
