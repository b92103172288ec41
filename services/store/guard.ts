/** Bids are not sent to a store that did not answer the last ones: they are refused at once, undecided. */
import type { Strategy } from "./batcher.ts";
import { NotDecided } from "./place-bids.ts";

/** What a circuit breaker is to those whose calls are not its probes (runtime/breaker.ts). */
export interface Guard {
  readonly state: "closed" | "half_open" | "open";
  succeeded(): void;
  failed(): void;
}

/** One that hangs fails two calls a lot at a time; a bid is refused at once soon after the first ones. */
export const STORE_BREAKER = { failures: 3, waitMs: 100, waitMaxMs: 1_000 } as const;

export function guardStrategy(strategy: Strategy, guard: Guard): Strategy {
  const ask = async <T>(call: () => Promise<T>): Promise<T> => {
    if (guard.state !== "closed") throw new NotDecided("the store did not answer a moment ago");
    try {
      const answer = await call();
      guard.succeeded();
      return answer;
    } catch (error) {
      if (isAnswer(error as Error)) guard.succeeded();
      else guard.failed();
      throw error;
    }
  };
  return {
    operation: strategy.operation,
    maxInFlight: strategy.maxInFlight,
    decide: (...batch) => ask(() => strategy.decide(...batch)),
    nowMs: () => ask(() => strategy.nowMs()),
  };
}

/** An error reply is an answer: the store is there, and says what it cannot do. */
function isAnswer(error: Error): boolean {
  return error.name === "ReplyError" || (error.cause as Error | undefined)?.name === "ReplyError";
}
