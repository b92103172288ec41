/** Refuses bids at once, undecided, while the circuit breaker of the store is not closed. */
import type { Breaker } from "../runtime/breaker.ts";
import type { Strategy } from "./batcher.ts";
import { NotDecided } from "./place-bids.ts";
import { classOfRedisError, StoreRefused, StoreUnavailable } from "./unreachable.ts";

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
      else if (didNotServe(error)) breaker.failed();
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

/** Whether a call failed because Redis did not serve it. Otherwise the error is a defect. */
export function didNotServe(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof NotDecided) return error.cause === undefined || didNotServe(error.cause);
  if (error instanceof StoreUnavailable || error instanceof StoreRefused) return true;
  return classOfRedisError(error) !== "defect";
}
