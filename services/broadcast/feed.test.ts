import { expect, test } from "vitest";
import { createLog } from "../runtime/log.ts";
import { StoreUnavailable } from "../store/unreachable.ts";
import { DriftCheck } from "./drift-check.ts";
import { Feed } from "./feed.ts";
import { Hub } from "./hub.ts";
import { RecentEntries } from "./recent-entries.ts";
import { StoreClock } from "./store-clock.ts";

/** The loops over a store whose every read fails in a given way, until it has failed `times`. */
function loopsOver(failure: Error, times: number) {
  const stopping = new AbortController();
  let failed = 0;
  const fail = async () => {
    if (++failed === times) stopping.abort();
    throw failure;
  };
  const store = { status: "wait", on() {}, disconnect() {}, xrevrange: fail, time: fail };
  const dependencies = {
    store,
    blocking: store,
    hub: new Hub(),
    recentEntries: new RecentEntries(),
    clock: new StoreClock(),
    log: createLog("feed-test", "silent"),
    tracing: null,
    keys: {},
  } as unknown as ConstructorParameters<typeof Feed>[0] &
    ConstructorParameters<typeof DriftCheck>[0];
  const run = (loop: Feed | DriftCheck) => loop.run(stopping.signal);
  return {
    feed: () => run(new Feed(dependencies)),
    drift: () => run(new DriftCheck(dependencies)),
  };
}

test("feed and drift check wait while the store is away; a defect ends them, and so the process", async () => {
  const away = new StoreUnavailable("away");
  await loopsOver(away, 3).feed();
  await loopsOver(away, 1).drift();
  const defect = new TypeError("x is not a function");
  await expect(loopsOver(defect, 3).feed()).rejects.toBe(defect);
  await expect(loopsOver(defect, 1).drift()).rejects.toBe(defect);
});
