import { expect, test } from "vitest";
import { Breaker } from "../runtime/breaker.ts";
import { Batcher, BATCHER_DEFAULTS, type Strategy } from "./batcher.ts";
import { didNotServe, guardStrategy } from "./guard.ts";
import { NotDecided } from "./place-bids.ts";

const LOST = new Error("Connection is closed.");
const DEFECT = new TypeError("x is not a function");

test("an outage of Redis opens the circuit; a defect does not, and its bid is unknown", async () => {
  const breaker = new Breaker({ failures: 3, waitMs: 1, waitMaxMs: 1, isOutage: didNotServe });
  let failure: Error = DEFECT;
  const errors: Error[] = [];
  const strategy: Strategy = {
    operation: "EVALSHA",
    maxInFlight: 1,
    nowMs: async () => Date.now(),
    async decide(_lotId, _bids, _known, _deadlineMs, _traceparent, onSend) {
      onSend?.();
      throw failure;
    },
  };
  const options = { ...BATCHER_DEFAULTS, onError: (error: Error) => errors.push(error) };
  const batcher = new Batcher(guardStrategy(strategy, breaker), options);
  const bid = { bidId: "b-1", bidderId: "alice", key: "k", amountMinor: 1 };
  for (let i = 0; i < 4; i++) {
    expect(await batcher.place("lot-1", bid)).toEqual({ outcome: "unknown" });
  }
  expect(breaker.state).toBe("closed");
  failure = LOST;
  for (let i = 0; i < 3; i++) await batcher.place("lot-1", bid);
  expect(breaker.state).toBe("open");
  expect(errors.map(didNotServe)).toEqual([false, false, false, false, true, true, true]);
});

test("a call that was not sent is judged by why", () => {
  expect(didNotServe(new NotDecided("the circuit of the store is open"))).toBe(true);
  expect(didNotServe(new NotDecided("lost", { cause: LOST }))).toBe(true);
  expect(didNotServe(new NotDecided("x is not a function", { cause: DEFECT }))).toBe(false);
});
