/** Refuses bids at once, undecided, while the circuit breaker of the store is not closed. */
import type { Breaker } from "../runtime/breaker.ts";
import type { Strategy } from "./batcher.ts";
import { NotDecided } from "./place-bids.ts";

/** Bids are never used as probes that close the breaker again; `keepProbing` sends those. */
export function guardStrategy(strategy: Strategy, breaker: Breaker): Strategy {
  const guarded = async <T>(call: () => Promise<T>): Promise<T> => {
    if (breaker.state !== "closed") throw new NotDecided("the circuit of the store is open");
    try {
      const reply = await call();
      breaker.succeeded();
      return reply;
    } catch (error) {
      if (isErrorReply(error as Error)) breaker.succeeded();
      else breaker.failed();
      throw error;
    }
  };
  return {
    operation: strategy.operation,
    maxInFlight: strategy.maxInFlight,
    decide: (...args) => guarded(() => strategy.decide(...args)),
    nowMs: () => guarded(() => strategy.nowMs()),
  };
}

/** An error reply proves that the store answers. */
function isErrorReply(error: Error): boolean {
  return error.name === "ReplyError" || (error.cause as Error | undefined)?.name === "ReplyError";
}
