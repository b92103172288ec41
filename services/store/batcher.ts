/**
 * Sends the bids of one event-loop turn on one lot in one call. While calls are in flight the next batch grows, so
 * waits are short under low load, and calls are few under high load.
 */
import { performance } from "node:perf_hooks";
import type { Bid } from "../lot/lot.ts";
import { isBehind, type Position, START } from "../lot/position.ts";
import type { SharedCall, Span, Tracing } from "../runtime/tracing.ts";
import { type Store, storeClockMs } from "./connect.ts";
import type { Keys } from "./keys.ts";
import {
  type DecidedBatch,
  MAX_BATCH,
  NotDecided,
  type Placement,
  placeBids,
} from "./place-bids.ts";

/** How bids are decided: by place-bids.lua, or by an optimistic transaction. */
export interface Strategy {
  /**
   * @param known the highest position of the lot in any reply to this process
   * @param traceparent is kept beside the events in the outbox; null if no bid is traced
   * @param onSend is called right before the command that decides is sent. It may throw: nothing is sent then
   */
  decide(
    lotId: string,
    bids: readonly Bid[],
    known: Position,
    deadlineMs: number,
    traceparent?: string | null,
    onSend?: () => void,
  ): Promise<DecidedBatch>;
  /** Redis's clock. */
  nowMs(): Promise<number>;
  /** The Redis command that decides. */
  readonly operation: "EVALSHA" | "EXEC";
  /** The most calls in flight for one lot. */
  readonly maxInFlight: number;
}

interface BatcherOptions {
  /** The most bids waiting, of all lots together; further bids are refused as `busy`. */
  readonly maxWaiting: number;
  /** From arrival to decision: a bid not sent in time is refused, and a bid that was sent is not decided later. */
  readonly deadlineMs: number;
  /** For each batch, answered or not. @param waitedMs of its first bid, before the call */
  readonly onBatch?: (bids: number, tookMs: number, waitedMs: number) => void;
  readonly onError?: (error: Error) => void;
  /** Without it no call is traced. */
  readonly tracing?: Tracing | null;
}

export const BATCHER_DEFAULTS = { maxWaiting: 20_000, deadlineMs: 800 } as const;

/**
 * How long after its deadline a bid waits for Redis before it is answered: `unknown` if it was sent, `unavailable` if
 * its call still waits for the clock or a connection. A single command times out earlier (connect.ts); this also
 * covers a bid that waited before its call.
 */
const GRACE_MS = 50;

interface Waiting {
  readonly bid: Bid;
  readonly span: Span | null;
  readonly arrivedMs: number;
  readonly resolve: (placement: Placement) => void;
}

/** The waiting bids of one lot, and how many of its calls are in flight. */
interface LotQueue {
  waiting: Waiting[];
  inFlight: number;
  known: Position;
  scheduled: boolean;
  /** Set while bids wait behind calls in flight. */
  expiry: NodeJS.Timeout | null;
}

/** One call: whether it was sent, and whether its bids were answered before that. */
class Call {
  #state: "waits" | "sent" | "given up" = "waits";

  /** @throws NotDecided if the bids have been answered already: they must not be decided any more */
  send(): void {
    if (this.#state === "given up") throw new NotDecided("the bids were answered as unavailable");
    this.#state = "sent";
  }

  /** The outcome of bids whose wait has ended. A call that was not sent by then is never sent. */
  giveUp(): Placement {
    if (this.#state === "waits") this.#state = "given up";
    return this.#state === "sent"
      ? { outcome: "unknown" }
      : { outcome: "unavailable", why: "store" };
  }

  get isSent(): boolean {
    return this.#state === "sent";
  }
}

export class Batcher {
  #queues = new Map<string, LotQueue>();
  #waiting = 0;
  /** Redis's clock minus ours, as of its last reply; null before the first one. */
  #clockOffsetMs: number | null = null;
  readonly #strategy: Strategy;
  readonly #options: BatcherOptions;

  constructor(strategy: Strategy, options: BatcherOptions) {
    this.#strategy = strategy;
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** How many lots have a queue. */
  get queuedLots(): number {
    return this.#queues.size;
  }

  /**
   * Never rejects: every outcome is a Placement. Resolves soon after `deadlineMs` at the latest.
   * @param span of the bid; null if it is not traced
   */
  place(lotId: string, bid: Bid, span: Span | null = null): Promise<Placement> {
    if (this.#waiting >= this.#options.maxWaiting) {
      return Promise.resolve({ outcome: "unavailable", why: "busy" });
    }
    return new Promise((resolve) => {
      this.#waiting++;
      const queue = this.#queueOf(lotId);
      queue.waiting.push({ bid, span, arrivedMs: performance.now(), resolve });
      this.#schedule(lotId, queue);
    });
  }

  #queueOf(lotId: string): LotQueue {
    let queue = this.#queues.get(lotId);
    if (queue) return queue;
    queue = { waiting: [], inFlight: 0, known: START, scheduled: false, expiry: null };
    this.#queues.set(lotId, queue);
    return queue;
  }

  #schedule(lotId: string, queue: LotQueue): void {
    if (queue.scheduled) return;
    if (queue.inFlight >= this.#strategy.maxInFlight) return this.#expireLater(queue);
    queue.scheduled = true;
    setImmediate(() => {
      queue.scheduled = false;
      while (queue.waiting.length > 0 && queue.inFlight < this.#strategy.maxInFlight) {
        void this.#flush(lotId, queue, queue.waiting.splice(0, MAX_BATCH));
      }
    });
  }

  /** Refuses waiting bids at their deadline: one timer for each queue, while bids wait. */
  #expireLater(queue: LotQueue): void {
    const [oldest] = queue.waiting;
    if (queue.expiry || !oldest) return;
    const leftMs = oldest.arrivedMs + this.#options.deadlineMs - performance.now();
    queue.expiry = setTimeout(
      () => {
        queue.expiry = null;
        const before = queue.waiting.length;
        queue.waiting = this.#refuseExpired(queue.waiting);
        this.#waiting -= before - queue.waiting.length;
        this.#expireLater(queue);
      },
      Math.max(1, leftMs + 1),
    );
  }

  /** The bids whose deadline has not passed; the others are answered `expired`. */
  #refuseExpired(bids: Waiting[]): Waiting[] {
    const nowMs = performance.now();
    return bids.filter(({ arrivedMs, resolve }) => {
      const late = nowMs - arrivedMs > this.#options.deadlineMs;
      if (late) resolve({ outcome: "unavailable", why: "expired" });
      return !late;
    });
  }

  async #flush(lotId: string, queue: LotQueue, taken: Waiting[]): Promise<void> {
    this.#waiting -= taken.length;
    const inTime = this.#refuseExpired(taken);
    if (inTime.length === 0) return;
    const sentMs = performance.now();
    const { deadlineMs, onBatch } = this.#options;
    const call = new Call();
    // Bids do not wait for a hung Redis; a second resolve has no effect.
    const giveUp = setTimeout(
      () => {
        const placement = call.giveUp();
        for (const { resolve } of inTime) resolve(placement);
      },
      inTime[0]!.arrivedMs + deadlineMs + GRACE_MS - sentMs,
    );

    queue.inFlight++;
    const placements = await this.#send(lotId, queue, inTime, call, sentMs);
    queue.inFlight--;
    clearTimeout(giveUp);
    onBatch?.(inTime.length, performance.now() - sentMs, sentMs - inTime[0]!.arrivedMs);
    for (const [i, { resolve }] of inTime.entries()) resolve(placements[i]!);
    if (queue.waiting.length > 0) this.#schedule(lotId, queue);
    // An unknown lot keeps no queue.
    else if (queue.inFlight === 0 && queue.known === START) this.#queues.delete(lotId);
  }

  async #send(
    lotId: string,
    queue: LotQueue,
    batch: Waiting[],
    call: Call,
    sentMs: number,
  ): Promise<Placement[]> {
    const bids = batch.map(({ bid }) => bid);
    const traced = this.#trace(lotId, batch);
    let failure: Error | null = null;
    try {
      this.#clockOffsetMs ??= (await this.#strategy.nowMs()) - sentMs;
      const deadlineMs = Math.ceil(sentMs + this.#clockOffsetMs + this.#options.deadlineMs);
      const traceparent = traced?.traceparent ?? null;
      const decided = await this.#strategy.decide(
        lotId,
        bids,
        queue.known,
        deadlineMs,
        traceparent,
        () => call.send(),
      );
      const { placements, position, nowMs } = decided;
      if (position && isBehind(queue.known, position)) queue.known = position;
      if (nowMs !== null) this.#clockOffsetMs = nowMs - sentMs;
      return placements;
    } catch (error) {
      failure = error as Error;
      this.#options.onError?.(error as Error);
      const isUndecided = !call.isSent || wasNotDecided(error as Error);
      const placement: Placement = isUndecided
        ? { outcome: "unavailable", why: "store" }
        : { outcome: "unknown" };
      return batch.map(() => placement);
    } finally {
      traced?.end(failure);
    }
  }

  #trace(lotId: string, batch: readonly Waiting[]): SharedCall | null {
    const { tracing } = this.#options;
    if (!tracing) return null;
    const spans = batch.flatMap(({ span }) => span ?? []);
    if (spans.length === 0) return null;
    const { operation } = this.#strategy;
    return tracing.shared(`${operation} place-bids`, spans, {
      "db.system.name": "redis",
      "db.operation.name": operation,
      "db.operation.batch.size": batch.length,
      "gavel.lot.id": lotId,
    });
  }
}

/**
 * Whether the error of a call that was sent proves that Redis decided nothing: without a connection nothing arrived,
 * and an error reply comes before a script's first write. After any other error the outcome is unknown.
 */
function wasNotDecided(error: Error): boolean {
  return (
    error instanceof NotDecided ||
    error.name === "ReplyError" ||
    error.message.startsWith("Stream isn't writeable")
  );
}

/** Bids are decided by place-bids.lua. */
export function scriptStrategy(store: Store, keys: Keys): Strategy {
  return {
    decide: (...args) => placeBids(store, keys, ...args),
    nowMs: () => storeClockMs(store),
    operation: "EVALSHA",
    maxInFlight: 2,
  };
}
