import { performance } from "node:perf_hooks";
import { beforeAll, expect, test } from "vitest";
import { afterFile } from "../testing/after-file.ts";
import {
  auctionDefinition,
  bid,
  defineAndOpen,
  lotDefinition,
  openStore,
} from "../testing/auction.ts";
import { startRedis, type TestServer } from "../testing/servers.ts";
import { openConnections } from "../testing/store.ts";
import { withMargin } from "../testing/margin.ts";
import { until } from "../testing/until.ts";
import { Batcher, BATCHER_DEFAULTS, scriptStrategy } from "./batcher.ts";
import { connectStore, startConnecting, type Store } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { readAuction, readLots } from "./lots.ts";
import { optimisticStrategy } from "./optimistic.ts";

let redis: TestServer;
let store: Store;
let keys: Keys;
beforeAll(async () => {
  redis = await startRedis();
  const admin = await openStore(redis.url);
  ({ keys } = await defineAndOpen(admin));
  store = connectStore(redis.url, "gavel-test");
  startConnecting(store, () => {});
  afterFile(() => store.disconnect());
  await until("it is connected", () => store.ping());
});

const batcherOf = (changes = {}) =>
  new Batcher(scriptStrategy(store, keys), { ...BATCHER_DEFAULTS, ...changes });
let amountMinor = 1_000;
const next = () => bid((amountMinor += 500));

test("bids of one turn share a call, and each gets its own answer, in order", async () => {
  const sizes: number[] = [];
  const batcher = batcherOf({ onBatch: (size: number) => sizes.push(size) });
  await batcher.place("lot-1", next());
  const bids = Array.from({ length: 300 }, next);
  const placements = await Promise.all(bids.map((one) => batcher.place("lot-1", one)));
  expect(placements.map((placement) => "bidId" in placement && placement.bidId)).toEqual(
    bids.map(({ bidId }) => bidId),
  );
  expect(sizes).toEqual([1, 256, 44]);
});

test("more bids than may wait are refused as busy, and the others are decided", async () => {
  const batcher = batcherOf({ maxWaiting: 10 });
  const placements = await Promise.all(
    Array.from({ length: 15 }, () => batcher.place("lot-1", next())),
  );
  expect(placements.filter(({ outcome }) => outcome === "accepted")).toHaveLength(10);
  const busy = { outcome: "unavailable", why: "busy" };
  expect(placements.slice(10)).toEqual(Array(5).fill(busy));
});

test("bids on lots that do not exist leave nothing behind", async () => {
  const batcher = batcherOf();
  const placements = await Promise.all(
    Array.from({ length: 500 }, (_, i) => batcher.place(`no-lot-${i}`, next())),
  );
  expect(new Set(placements.map(({ outcome }) => outcome))).toEqual(new Set(["unknown_lot"]));
  expect(batcher.queuedLots).toBe(0);
});

test("while Redis hangs every bid is answered within a second, and its key tells later what it became", async () => {
  const batcher = batcherOf();
  await batcher.place("lot-1", next());
  redis.signal("SIGSTOP");
  const bids = Array.from({ length: 20 }, next);
  const started = performance.now();
  const placements = await Promise.all(bids.map((one) => batcher.place("lot-1", one)));
  const late = next();
  const second = await batcher.place("lot-1", late);
  const tookMs = performance.now() - started;
  redis.signal("SIGCONT");
  // Sent and unanswered is unknown, never "nothing was decided": Redis goes on with what it was sent.
  for (const { outcome } of [...placements, second]) expect(outcome).toBe("unknown");
  expect(tookMs).toBeLessThan(withMargin(2_000)); // twice: the first bids, then one more
  for (const one of [...bids, late]) {
    const placement = await until("it is decided", async () => {
      const again = await batcher.place("lot-1", one);
      return again.outcome === "unavailable" || again.outcome === "unknown" ? null : again;
    });
    expect(["accepted", "too_low"]).toContain(placement.outcome);
  }
});

test("bids whose call was never sent are unavailable, not unknown, and are not decided later", async () => {
  const lots = Array.from({ length: 12 }, (_, i) => lotDefinition(`lot-${i + 1}`));
  const admin = await openStore(redis.url);
  const { keys: ofMany } = await defineAndOpen(admin, auctionDefinition({ lots }));
  const optimistic = optimisticStrategy(openConnections(redis.url), ofMany);
  await until("it is connected", () => optimistic.nowMs());
  const knowsClock = new Batcher(optimistic, BATCHER_DEFAULTS);
  await knowsClock.place("lot-1", next());
  const knowsNothing = batcherOf();

  redis.signal("SIGSTOP");
  const bids = Array.from({ length: 13 }, next);
  const placements = await Promise.all([
    knowsNothing.place("lot-1", bids[0]!), // its first call asks for the time
    // More lots than connections: some wait for one, the others read under WATCH.
    ...lots.map(({ lotId }, i) => knowsClock.place(lotId, bids[i + 1]!)),
  ]);
  redis.signal("SIGCONT");
  const unavailable = { outcome: "unavailable", why: "store" };
  expect(placements).toEqual(bids.map(() => unavailable));
  for (const batcher of [knowsNothing, knowsClock]) {
    await until("it decides again", async () => {
      return (await batcher.place("lot-1", next())).outcome === "accepted";
    });
  }
  const outboxes = [keys, ofMany].map(({ outbox }) => store.xrange(outbox, "-", "+"));
  const recorded = JSON.stringify(await Promise.all(outboxes));
  expect(bids.filter(({ bidId }) => recorded.includes(bidId))).toEqual([]);
});

test("while Redis is dead bids are refused at once, and after its return nothing acknowledged is lost", async () => {
  const batcher = batcherOf();
  const accepted: string[] = [];
  let stop = false;
  const bidding = (async () => {
    while (!stop) {
      const one = next();
      const placement = await batcher.place("lot-1", one);
      if (placement.outcome === "accepted") accepted.push(one.bidId);
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  await until("some are accepted", () => accepted.length > 50);
  await redis.kill();
  const started = performance.now();
  const refused = await batcher.place("lot-1", next());
  expect(["unavailable", "unknown"]).toContain(refused.outcome);
  expect(performance.now() - started).toBeLessThan(withMargin(1_000));
  await redis.restart();
  const before = accepted.length;
  await until("bids are accepted again", () => accepted.length > before + 50);
  stop = true;
  await bidding;
  const recorded = JSON.stringify(await store.xrange(keys.outbox, "-", "+"));
  expect(accepted.filter((bidId) => !recorded.includes(bidId))).toEqual([]);
  const auction = await readAuction(store, keys);
  const [lot] = await readLots(store, keys, auction!, ["lot-1"]);
  expect(recorded).toContain(lot!.leadingBid!.bidId);
});
