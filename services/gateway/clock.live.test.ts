import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { createRegistry } from "../runtime/internal.ts";
import { createLog } from "../runtime/log.ts";
import { storeClockMs } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { placeBids } from "../store/place-bids.ts";
import { eventsBefore } from "../store/history.ts";
import { bid, defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { startTestGateway } from "../testing/gateway.ts";
import { startRedis } from "../testing/servers.ts";
import { until } from "../testing/until.ts";
import { startClock } from "./clock.ts";
import { createMetrics } from "./metrics.ts";

const redis = await startRedis();
const store = await openStore(redis.url);
const log = createLog("clock", "silent");
/** The promise for the 99th percentile of all lots. */
const LATENESS_PROMISED_MS = 1_000;

function clockOf(keys: Keys, over = store) {
  const registry = createRegistry("gateway");
  const metrics = createMetrics(registry, {
    waitingBids: () => 0,
    connections: () => 0,
  });
  const stop = startClock({ store: over, keys, log, metrics });
  const value = async (line: string) => {
    const text = await registry.metrics();
    return Number(
      text
        .split("\n")
        .find((each) => each.startsWith(line))
        ?.split(" ")
        .at(-1),
    );
  };
  return { stop, value, held: () => value("gavel_gateway_clock_held") };
}

const eventsOf = async (keys: Keys, lotId: string) =>
  (await eventsBefore(store, keys, lotId, null, 100)).events.reverse();

test("a defect in the lot clock is counted, and the clock continues", async () => {
  const { keys } = await defineAndOpen(store);
  let defects = 2;
  const broken = new Proxy(store, {
    get(target, name) {
      if (name === "holdLease" && defects-- > 0) throw new TypeError("x is not a function");
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const clock = clockOf(keys, broken);
  await until("it holds the lease", async () => (await clock.held()) === 1);
  expect(await clock.value("gavel_gateway_internal_errors_total")).toBe(2);
  await clock.stop();
});

test("the clock opens lots, closes them in time and writes who won", async () => {
  const unsold = ["none-1", "none-2", "none-3", "none-4", "none-5"];
  const { keys } = await defineAndOpen(store, {
    lots: [
      lotDefinition("sold", { lastsMs: 1_500 }),
      lotDefinition("dear", { lastsMs: 1_500, reserveMinor: 5_000 }),
      ...unsold.map((lotId, n) => lotDefinition(lotId, { lastsMs: 1_500 + 150 * n })),
    ],
  });
  const clock = clockOf(keys);
  const never = Number.MAX_SAFE_INTEGER;
  const seen = { epoch: 0, seq: 0 };
  for (const lotId of ["sold", "dear"]) {
    const placed = await placeBids(store, keys, lotId, [bid(2_000)], seen, never);
    expect(placed.placements[0]!.outcome).toBe("accepted");
  }
  await until("all are closed", async () => {
    const all = await Promise.all(["sold", "dear", ...unsold].map((id) => eventsOf(keys, id)));
    return all.every((events) => events.at(-1)?.type === "lot_closed");
  });
  expect((await eventsOf(keys, "sold")).at(-1)).toMatchObject({
    outcome: "sold",
    amountMinor: 2_000,
    seq: 3,
  });
  expect((await eventsOf(keys, "dear")).at(-1)).toMatchObject({
    outcome: "reserve_not_met",
    amountMinor: null,
    bidderId: null,
  });
  const lateness: number[] = [];
  for (const lotId of unsold) {
    const events = await eventsOf(keys, lotId);
    expect(events.map(({ type }) => type)).toEqual(["lot_opened", "lot_closed"]);
    const closesAtMs = "closesAtMs" in events[0]! ? events[0].closesAtMs : 0;
    lateness.push(events.at(-1)!.atMs - closesAtMs);
  }
  const [least, , median, , most] = lateness.toSorted((a, b) => a - b);
  expect(least).toBeGreaterThanOrEqual(0);
  // A clock that wakes up late delays all of them; the promise is for each.
  expect(median).toBeLessThan(500);
  expect(most).toBeLessThan(LATENESS_PROMISED_MS);
  expect(
    await clock.value('gavel_gateway_clock_lateness_seconds_count{tier="gateway",change="close"}'),
  ).toBe(7);
  await clock.stop();
});

test("of two clocks one works; when it stops, the other goes on at once", async () => {
  const { keys } = await defineAndOpen(store, { lots: [lotDefinition("long")] });
  const clocks = [clockOf(keys), clockOf(keys)];
  const held = () => Promise.all(clocks.map(({ held }) => held()));
  await until("one holds the lease", async () => (await held()).includes(1));
  expect((await held()).sort()).toEqual([0, 1]);
  const [first, second] = (await held())[0] === 1 ? clocks : clocks.toReversed();
  await first!.stop();
  expect(await first!.held()).toBe(0);
  await until("the other holds it", async () => (await second!.held()) === 1);
  await second!.stop();
  expect(await store.exists(keys.lease("clock"))).toBe(0);
});

test("a holder that vanished is followed when its lease is over, and not before", async () => {
  const { keys } = await defineAndOpen(store, { lots: [lotDefinition("left", { lastsMs: 200 })] });
  const fromMs = await storeClockMs(store);
  await store.set(keys.lease("clock"), `gone-${randomUUID()}`, "PX", 1_000);
  const clock = clockOf(keys);
  const closed = await until("the lot is closed", async () =>
    (await eventsOf(keys, "left")).find(({ type }) => type === "lot_closed"),
  );
  expect(closed.atMs - fromMs).toBeGreaterThanOrEqual(1_000);
  await clock.stop();
});

test("after Redis was away the clock closes what became due meanwhile", async () => {
  const uid = randomUUID();
  const gateway = await startTestGateway(redis.url, uid); // first: the lot's time is for one bid only
  await defineAndOpen(store, { uid, lots: [lotDefinition("due", { lastsMs: 3_000 })] });
  const openedMs = Date.now();
  await until(
    "a bid is taken",
    async () => (await gateway.bid("due", 1_000, { key: "due" })).status === 201,
  );
  await redis.kill();
  await until("its time has passed", () => Date.now() - openedMs > 3_100);
  await redis.restart();
  const lot = await until("it is closed", async () => {
    const { body } = await gateway.get("/v1/lots/due");
    return body["status"] === "closed" ? body : null;
  });
  expect(lot).toMatchObject({ outcome: "sold", leadingBid: { amountMinor: 1_000 }, seq: 3 });
});
