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
import { type Batch, MAX_BATCH, NotDecided, type Placement, placeBids } from "./place-bids.ts";

/** How bids are decided: by place-bids.lua, or by an optimistic transaction. */
export interface Strategy {
  /**
   * @param known the highest position of the lot in any reply to this process
   * @param traceparent is kept beside the events in the outbox; null where no bid is traced
   */
  decide(
    lotId: string,
    bids: readonly Bid[],
    known: Position,
    deadlineMs: number,
    traceparent?: string | null,
  ): Promise<Batch>;
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
 * How long after its deadline a bid that was sent waits for Redis before it is answered `unknown`. A single command
 * times out earlier (connect.ts); this also covers a bid that waited before its call.
 */
const GRACE_MS = 50;

interface Waiting {
  readonly bid: Bid;
  readonly span: Span | null;
  readonly arrivedMs: number;
  readonly resolve: (placement: Placement) => void;
}

interface Lane {
  waiting: Waiting[];
  inFlight: number;
  known: Position;
  scheduled: boolean;
  /** Set while bids wait behind calls in flight. */
  expiry: NodeJS.Timeout | null;
}

export class Batcher {
  #lanes = new Map<string, Lane>();
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

  /** Lots that this process has placed bids on. */
  get lanes(): number {
    return this.#lanes.size;
  }

  /**
   * Never rejects: every outcome is a Placement. Resolves soon after `deadlineMs` at the latest.
   * @param span of the bid; null where it is not traced
   */
  place(lotId: string, bid: Bid, span: Span | null = null): Promise<Placement> {
    if (this.#waiting >= this.#options.maxWaiting) {
      return Promise.resolve({ outcome: "unavailable", why: "busy" });
    }
    return new Promise((resolve) => {
      this.#waiting++;
      const lane = this.#lane(lotId);
      lane.waiting.push({ bid, span, arrivedMs: performance.now(), resolve });
      this.#schedule(lotId, lane);
    });
  }

  #lane(lotId: string): Lane {
    let lane = this.#lanes.get(lotId);
    if (lane) return lane;
    lane = { waiting: [], inFlight: 0, known: START, scheduled: false, expiry: null };
    this.#lanes.set(lotId, lane);
    return lane;
  }

  #schedule(lotId: string, lane: Lane): void {
    if (lane.scheduled) return;
    if (lane.inFlight >= this.#strategy.maxInFlight) return this.#expireLater(lane);
    lane.scheduled = true;
    setImmediate(() => {
      lane.scheduled = false;
      while (lane.waiting.length > 0 && lane.inFlight < this.#strategy.maxInFlight) {
        void this.#flush(lotId, lane, lane.waiting.splice(0, MAX_BATCH));
      }
    });
  }

  /** Refuses waiting bids at their deadline: one timer a lane, while bids wait. */
  #expireLater(lane: Lane): void {
    const [oldest] = lane.waiting;
    if (lane.expiry || !oldest) return;
    const leftMs = oldest.arrivedMs + this.#options.deadlineMs - performance.now();
    lane.expiry = setTimeout(
      () => {
        lane.expiry = null;
        const before = lane.waiting.length;
        lane.waiting = this.#inTime(lane.waiting);
        this.#waiting -= before - lane.waiting.length;
        this.#expireLater(lane);
      },
      Math.max(1, leftMs + 1),
    );
  }

  /** The bids whose deadline has not passed; the others are answered `expired`. */
  #inTime(bids: Waiting[]): Waiting[] {
    const nowMs = performance.now();
    return bids.filter(({ arrivedMs, resolve }) => {
      const late = nowMs - arrivedMs > this.#options.deadlineMs;
      if (late) resolve({ outcome: "unavailable", why: "expired" });
      return !late;
    });
  }

  async #flush(lotId: string, lane: Lane, taken: Waiting[]): Promise<void> {
    this.#waiting -= taken.length;
    const inTime = this.#inTime(taken);
    if (inTime.length === 0) return;
    const sentMs = performance.now();
    const { deadlineMs, onBatch } = this.#options;
    // Bids do not wait for a hung Redis; a second resolve has no effect.
    const giveUp = setTimeout(
      () => inTime.forEach(({ resolve }) => resolve({ outcome: "unknown" })),
      inTime[0]!.arrivedMs + deadlineMs + GRACE_MS - sentMs,
    );

    lane.inFlight++;
    const placements = await this.#decide(lotId, lane, inTime, sentMs);
    lane.inFlight--;
    clearTimeout(giveUp);
    onBatch?.(inTime.length, performance.now() - sentMs, sentMs - inTime[0]!.arrivedMs);
    for (const [i, { resolve }] of inTime.entries()) resolve(placements[i]!);
    if (lane.waiting.length > 0) this.#schedule(lotId, lane);
    // An unknown lot leaves no lane behind.
    else if (lane.inFlight === 0 && lane.known === START) this.#lanes.delete(lotId);
  }

  async #decide(lotId: string, lane: Lane, sent: Waiting[], sentMs: number): Promise<Placement[]> {
    const bids = sent.map(({ bid }) => bid);
    const call = this.#trace(lotId, sent);
    let failure: Error | null = null;
    try {
      this.#clockOffsetMs ??= (await this.#strategy.nowMs()) - sentMs;
      const deadlineMs = Math.ceil(sentMs + this.#clockOffsetMs + this.#options.deadlineMs);
      const traceparent = call?.traceparent ?? null;
      const decided = await this.#strategy.decide(lotId, bids, lane.known, deadlineMs, traceparent);
      const { placements, position, nowMs } = decided;
      if (position && isBehind(lane.known, position)) lane.known = position;
      if (nowMs !== null) this.#clockOffsetMs = nowMs - sentMs;
      return placements;
    } catch (error) {
      failure = error as Error;
      this.#options.onError?.(error as Error);
      const placement: Placement = wasNotDecided(error as Error)
        ? { outcome: "unavailable", why: "store" }
        : { outcome: "unknown" };
      return sent.map(() => placement);
    } finally {
      call?.end(failure);
    }
  }

  #trace(lotId: string, sent: readonly Waiting[]): SharedCall | null {
    const { tracing } = this.#options;
    if (!tracing) return null;
    const spans = sent.flatMap(({ span }) => span ?? []);
    if (spans.length === 0) return null;
    const { operation } = this.#strategy;
    return tracing.shared(`${operation} place-bids`, spans, {
      "db.system.name": "redis",
      "db.operation.name": operation,
      "db.operation.batch.size": sent.length,
      "gavel.lot.id": lotId,
    });
  }
}

/**
 * Whether an error proves that Redis decided nothing: without a connection nothing was sent, and an error reply
 * comes before a script's first write. After any other error the outcome is unknown.
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
    decide: (...batch) => placeBids(store, keys, ...batch),
    nowMs: () => storeClockMs(store),
    operation: "EVALSHA",
    maxInFlight: 2,
  };
}
