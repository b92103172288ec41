/** An auction that takes no bids: suspended for a while, or fenced for good. */
import { describe, expect, test } from "vitest";
import { encodeEvent } from "../lot/events.ts";
import { resumed } from "../lot/lifecycle.ts";
import { auctionDefinition, bid, defineAndOpen, lotDefinition } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { scriptStrategy, type Strategy } from "./batcher.ts";
import { storeClockMs } from "./connect.ts";
import { type AuctionDefinition } from "./define-lots.ts";
import { digestAfter, NO_EVENTS } from "./digest.ts";
import { type Keys, keysOf } from "./keys.ts";
import { fenceAuction, openAuction, advanceDueLots } from "./lot-changes.ts";
import { readAuction, readDigests } from "./lots.ts";
import { optimisticStrategy } from "./optimistic.ts";
import { lastOutboxId } from "./outbox.ts";
import {
  defineAuction,
  NO_DEADLINE,
  openConnections,
  readAllLots,
  readOutboxEvents,
  startStore,
} from "../testing/store.ts";
import { START } from "../lot/position.ts";

const { redis, store } = await startStore();

const define = (definition: AuctionDefinition) => defineAuction(store, definition);
const lotsOf = (keys: Keys) => readAllLots(store, keys);
const eventsOf = (keys: Keys) => readOutboxEvents(store, keys);

type Name = "script" | "optimistic";
async function strategyOf(name: Name, keys: Keys): Promise<Strategy> {
  if (name === "script") return scriptStrategy(store, keys);
  const strategy = optimisticStrategy(openConnections(redis.url), keys);
  // All its connections: each takes one of the batches.
  const all = () =>
    Array.from({ length: 8 }, () => strategy.decide("none", [bid(1)], START, NO_DEADLINE));
  await until("it is connected", () => Promise.all(all()));
  return strategy;
}

describe.for<Name>(["script", "optimistic"])("by the %s strategy", (name) => {
  test("after the fence every bid is answered closed, and an accepted one as before", async () => {
    const { definition, keys } = await defineAndOpen(store);
    const strategy = await strategyOf(name, keys);
    const first = bid(1_000);
    const place = async (one: typeof first) =>
      (await strategy.decide("lot-1", [one], START, NO_DEADLINE)).placements[0]!;
    const accepted = await place(first);
    expect(accepted).toMatchObject({ outcome: "accepted" });

    const fence = await fenceAuction(store, keys, ["lot-1"]);
    expect(fence).toEqual({
      fencedId: await lastOutboxId(store, keys),
      fencedAtMs: expect.any(Number),
    });
    expect(await fenceAuction(store, keys, ["lot-1"])).toEqual(fence);
    expect(await place(bid(9_000))).toMatchObject({ outcome: "closed", minimumMinor: 1_050 });
    expect(await place(first)).toEqual(accepted);
    expect(await place({ ...first, amountMinor: 2_000 })).toEqual({ outcome: "key_reused" });

    expect(await define(definition)).toEqual({ outcome: "defined" });
    expect(await define({ ...definition, suspended: true })).toMatchObject({ outcome: "refused" });
    expect(await lastOutboxId(store, keys)).toBe(fence!.fencedId);
  });

  test("of bids that race with the fence none is recorded after it", async () => {
    for (let round = 0; round < 12; round++) {
      const { keys } = await defineAndOpen(store);
      const strategies = await Promise.all([1, 2].map(() => strategyOf(name, keys)));
      // A lot that is not open yet is left to the script: what is raced for is the other way.
      await strategies[0]!.decide("lot-1", [bid(1_000)], START, NO_DEADLINE);
      let fenced = false;
      const bidding = strategies.map(async (strategy, n) => {
        for (let i = 1; !fenced && i < 500; i++) {
          await strategy.decide("lot-1", [bid(2_000 + (2 * i + n) * 1_000)], START, NO_DEADLINE);
        }
      });
      await until("bids are under way", async () => (await store.xlen(keys.outbox)) > round + 2);
      const fence = await fenceAuction(store, keys, ["lot-1"]);
      fenced = true;
      await Promise.all(bidding);
      expect(await lastOutboxId(store, keys)).toBe(fence!.fencedId);
    }
  });

  test("while suspended bids are refused as that, and later go on", async () => {
    const { definition, keys } = await defineAndOpen(store);
    const strategy = await strategyOf(name, keys);
    const place = async (one = bid(1_000)) =>
      (await strategy.decide("lot-1", [one], START, NO_DEADLINE)).placements[0]!;
    const first = bid(1_000);
    const accepted = await place(first);
    await define({ ...definition, suspended: true });
    expect(await place(bid(9_000))).toMatchObject({ outcome: "suspended", minimumMinor: 1_050 });
    expect(await place(first)).toEqual(accepted);
    await define(definition);
    expect(await place(bid(9_000))).toMatchObject({ outcome: "accepted" });
  });

  test("a lot's hash keeps the digest of all its events", async () => {
    const antiSniping = { windowMs: 3_600_000, extensionMs: 3_600_000, maxExtensions: 20 };
    const limits = { maxJump: null, maxAmountMinor: 2 ** 53 - 1 };
    const rules = { ...auctionDefinition().rules, antiSniping, ...limits };
    const { definition, keys } = await defineAndOpen(store, { rules });
    const strategy = await strategyOf(name, keys);
    const amounts = [1_000, 5_000, 999_999_999_999_999, 1e15, 8_999_999_999_999_999, 9e15];
    for (const [i, amount] of amounts.entries()) {
      const batch = i === 1 ? [bid(amount), bid(amount + 1), bid(amount + 2_000)] : [bid(amount)];
      await strategy.decide("lot-1", batch, START, NO_DEADLINE);
    }
    await define({ ...definition, lots: [{ ...definition.lots[0]!, withdrawn: true }] });
    const events = await eventsOf(keys);
    const expected = events.reduce(
      (digest, event) => digestAfter(digest, event, encodeEvent(event)),
      NO_EVENTS,
    );
    expect(expected.bidCount).toBeGreaterThan(4);
    expect(events.at(-1)!.type).toBe("lot_withdrawn");
    expect(await readDigests(store, keys, ["lot-1", "none"])).toEqual([expected, null]);
  });
});

test("a fence closes the lots whose time is over, and no other; nothing opens or closes after it", async () => {
  const nowMs = await storeClockMs(store);
  const lots = [
    lotDefinition("over", { closesAtMs: nowMs + 30, lastsMs: null }),
    lotDefinition("open"),
    lotDefinition("brief", { closesAtMs: nowMs + 1_500, lastsMs: null }),
  ];
  const { keys } = await defineAndOpen(store, { lots });
  await until("the first is over", async () => (await storeClockMs(store)) > nowMs + 30);
  await fenceAuction(store, keys, ["over", "open", "brief"]);
  expect(await eventsOf(keys)).toMatchObject([
    { type: "lot_opened", lotId: "over" },
    { type: "lot_closed", lotId: "over", outcome: "no_bids" },
  ]);
  expect(await lotsOf(keys)).toMatchObject([
    { status: "closed", intake: "fenced" },
    { status: "scheduled", intake: "fenced" },
    { status: "scheduled", intake: "fenced" },
  ]);
  await until("the last is over", async () => (await storeClockMs(store)) > nowMs + 1_500);
  await store.zadd(keys.due, 1, "brief", 1, "open");
  expect(await advanceDueLots(store, keys)).toMatchObject({ opened: [], closed: [], nextMs: null });
  expect(await eventsOf(keys)).toHaveLength(2);
});

test("an auction that was fenced before it opened never opens, and one that is unknown has no fence", async () => {
  const definition = auctionDefinition();
  const keys = keysOf(definition.uid);
  expect(await fenceAuction(store, keys, ["lot-1"])).toBeNull();
  await define(definition);
  expect(await fenceAuction(store, keys, ["lot-2"])).toBeNull();
  expect(await fenceAuction(store, keys, ["lot-1"])).toMatchObject({ fencedId: "0-0" });
  expect(await openAuction(store, keys, ["lot-1"])).toBeNull();
});

test("what is suspended neither opens nor closes, and goes on as resumed() says", async () => {
  const nowMs = await storeClockMs(store);
  const opensAtMs = nowMs + 60;
  const lots = [
    lotDefinition("early", { closesAtMs: nowMs + 62, lastsMs: null }),
    lotDefinition("a", { closesAtMs: nowMs + 1_500, lastsMs: null }),
    lotDefinition("gone", { lastsMs: 60_000, withdrawn: true }),
  ];
  const { definition, keys } = await defineAndOpen(store, { opensAtMs, lots });
  await until("it has opened", async () => (await advanceDueLots(store, keys)).opened.length > 0);
  await until("the early one is over", async () => (await storeClockMs(store)) > nowMs + 70);

  const suspended = { ...definition, suspended: true };
  await define(suspended);
  const auction = (await readAuction(store, keys))!;
  expect(auction.intake).toBe("suspended");
  await until("its close has passed", async () => (await storeClockMs(store)) > nowMs + 1_550);
  const before = await lotsOf(keys);
  expect(await advanceDueLots(store, keys)).toMatchObject({ opened: [], closed: [] });
  await define(suspended);
  expect((await readAuction(store, keys))!.suspendedAtMs).toBe(auction.suspendedAtMs);
  expect(await lotsOf(keys)).toEqual(before);

  const events = await eventsOf(keys);
  await define(definition);
  const more = (await eventsOf(keys)).slice(events.length);
  expect(more).toHaveLength(1);
  const resumedAtMs = more[0]!.atMs;
  const expected = before.flatMap((lot) => resumed(lot, auction.suspendedAtMs!, resumedAtMs));
  expect(more).toEqual(expected);
  const [early, a] = await lotsOf(keys);
  expect(a).toMatchObject({ status: "open", intake: "taking", extensions: 0 });
  expect(a!.closesAtMs! - before[1]!.closesAtMs!).toBe(resumedAtMs - auction.suspendedAtMs!);
  if (early!.status !== "closed")
    expect((await advanceDueLots(store, keys)).closed).toEqual(["early"]);
  // The seller's own later close counts from the one in the definition, and never moves a lot back.
  const later = lots.map((lot) =>
    lot.lotId === "a" ? { ...lot, closesAtMs: nowMs + 1_501 } : lot,
  );
  expect(await define({ ...definition, lots: later })).toEqual({ outcome: "defined" });
  expect((await lotsOf(keys))[1]!.closesAtMs).toBe(a!.closesAtMs);
});

test("a lot whose opening came while all was suspended has all of its time", async () => {
  const opensAtMs = (await storeClockMs(store)) + 1_000;
  const { definition, keys } = await defineAndOpen(store, {
    opensAtMs,
    suspended: true,
    lots: [lotDefinition("lot-1", { lastsMs: 50 })],
  });
  await until("all its time has passed", async () => (await storeClockMs(store)) > opensAtMs + 60);
  expect(await advanceDueLots(store, keys)).toMatchObject({ opened: [], closed: [] });
  await define({ ...definition, suspended: false });
  const [opened, extended, ...rest] = await eventsOf(keys);
  expect(rest).toEqual([]);
  expect(opened).toMatchObject({ type: "lot_opened", opensAtMs, closesAtMs: opensAtMs + 50 });
  expect(extended).toMatchObject({
    type: "lot_extended",
    closesAtMs: opened!.atMs + 50,
    extensions: 0,
  });
});
