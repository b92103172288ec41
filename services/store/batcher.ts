/**
 * Gathers the bids of one event-loop turn on one lot into one script call. While calls are in flight
 * the next batch grows by itself: short waits when it is quiet, few calls when it is not.
 */
import { performance } from "node:perf_hooks";
import type { Bid } from "../lot/lot.ts";
import { isBehind, type Position, START } from "../lot/position.ts";
import type { SharedCall, Span, Tracing } from "../runtime/tracing.ts";
import { type Store, storeClockMs } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { type Batch, MAX_BATCH, NotDecided, type Placement, placeBids } from "./place-bids.ts";

/** How bids are decided: by the script, or by an optimistic transaction. */
export interface Strategy {
  /** @param traceparent goes with the events into the outbox, where any of the bids is traced */
  decide(
    lotId: string,
    bids: readonly Bid[],
    seen: Position,
    deadlineMs: number,
    traceparent?: string | null,
  ): Promise<Batch>;
  /** Redis's clock. */
  nowMs(): Promise<number>;
  /** The command of Redis that decides. */
  readonly operation: "EVALSHA" | "EXEC";
  /** Calls in flight a lot that make sense for it. */
  readonly maxInFlight: number;
}

export interface BatcherOptions {
  /** Bids waiting in all lots together; more are refused as `busy`. */
  readonly maxWaiting: number;
  /** From arrival to decision: a bid not sent within it is refused, one sent is not decided after it. */
  readonly deadlineMs: number;
  /** For each batch answered or lost, for metrics; `waitedMs` is its first bid's, before the call. */
  readonly onBatch?: (bids: number, tookMs: number, waitedMs: number) => void;
  readonly onError?: (error: Error) => void;
  /** Null or absent: no call is traced. */
  readonly tracing?: Tracing | null;
}

export const BATCHER_DEFAULTS = { maxWaiting: 20_000, deadlineMs: 800 } as const;

/** How long after its deadline a bid that was sent is answered `unknown`, should Redis hang. */
const GRACE_MS = 50;

interface Waiting {
  readonly bid: Bid;
  readonly span: Span | null;
  readonly arrivedMs: number;
  readonly settle: (placement: Placement) => void;
}

interface Lane {
  waiting: Waiting[];
  inFlight: number;
  seen: Position;
  scheduled: boolean;
  /** Runs while bids wait behind calls that are not answered. */
  expiry: NodeJS.Timeout | null;
}

export class Batcher {
  #lanes = new Map<string, Lane>();
  #waiting = 0;
  /** Redis's clock minus ours, as of its last answer; null until it said. */
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

  /** Lots with bids under way, or seen by this process. */
  get lanes(): number {
    return this.#lanes.size;
  }

  /**
   * Never rejects: every fate of a bid is a Placement. Settles soon after `deadlineMs` at the latest.
   * @param span of the bid, where it is traced
   */
  place(lotId: string, bid: Bid, span: Span | null = null): Promise<Placement> {
    if (this.#waiting >= this.#options.maxWaiting) {
      return Promise.resolve({ outcome: "unavailable", why: "busy" });
    }
    return new Promise((settle) => {
      this.#waiting++;
      const lane = this.#lane(lotId);
      lane.waiting.push({ bid, span, arrivedMs: performance.now(), settle });
      this.#schedule(lotId, lane);
    });
  }

  #lane(lotId: string): Lane {
    let lane = this.#lanes.get(lotId);
    if (lane) return lane;
    lane = { waiting: [], inFlight: 0, seen: START, scheduled: false, expiry: null };
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

  /** One timer a lane, which looks again as long as anything waits. */
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

  /** Those that may still be decided; the others are told that they were not. */
  #inTime(bids: Waiting[]): Waiting[] {
    const nowMs = performance.now();
    return bids.filter(({ arrivedMs, settle }) => {
      const late = nowMs - arrivedMs > this.#options.deadlineMs;
      if (late) settle({ outcome: "unavailable", why: "expired" });
      return !late;
    });
  }

  async #flush(lotId: string, lane: Lane, taken: Waiting[]): Promise<void> {
    this.#waiting -= taken.length;
    const inTime = this.#inTime(taken);
    if (inTime.length === 0) return;
    const sentMs = performance.now();
    const { deadlineMs, onBatch } = this.#options;
    // Nobody waits for a hung Redis; settling again later does nothing.
    const giveUp = setTimeout(
      () => inTime.forEach(({ settle }) => settle({ outcome: "unknown" })),
      inTime[0]!.arrivedMs + deadlineMs + GRACE_MS - sentMs,
    );

    lane.inFlight++;
    const placements = await this.#decide(lotId, lane, inTime, sentMs);
    lane.inFlight--;
    clearTimeout(giveUp);
    onBatch?.(inTime.length, performance.now() - sentMs, sentMs - inTime[0]!.arrivedMs);
    for (const [i, { settle }] of inTime.entries()) settle(placements[i]!);
    if (lane.waiting.length > 0) this.#schedule(lotId, lane);
    // A lot that the store does not know leaves nothing behind.
    else if (lane.inFlight === 0 && lane.seen === START) this.#lanes.delete(lotId);
  }

  async #decide(lotId: string, lane: Lane, sent: Waiting[], sentMs: number): Promise<Placement[]> {
    const bids = sent.map(({ bid }) => bid);
    const call = this.#trace(lotId, sent);
    let failure: Error | null = null;
    try {
      this.#clockOffsetMs ??= (await this.#strategy.nowMs()) - sentMs;
      const deadlineMs = Math.ceil(sentMs + this.#clockOffsetMs + this.#options.deadlineMs);
      const traceparent = call?.traceparent ?? null;
      const decided = await this.#strategy.decide(lotId, bids, lane.seen, deadlineMs, traceparent);
      const { placements, seen, nowMs } = decided;
      if (seen && isBehind(lane.seen, seen)) lane.seen = seen;
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
 * Whether an error says that Redis decided nothing. A connection that was not there sent nothing; an
 * error reply comes before a script's first write. Anything else, and the bids' fate is unknown.
 */
function wasNotDecided(error: Error): boolean {
  return (
    error instanceof NotDecided ||
    error.name === "ReplyError" ||
    error.message.startsWith("Stream isn't writeable")
  );
}

/** The strategy that asks place-bids.lua. */
export function scriptStrategy(store: Store, keys: Keys): Strategy {
  return {
    decide: (...batch) => placeBids(store, keys, ...batch),
    nowMs: () => storeClockMs(store),
    operation: "EVALSHA",
    maxInFlight: 2,
  };
}
