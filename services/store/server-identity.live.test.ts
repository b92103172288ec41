import { expect, test } from "vitest";
import { bid, defineAndOpen, lotDefinition, MAX_PENDING_BYTES } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { scriptStrategy } from "./batcher.ts";
import { claimEvents, contiguousAfter, readClaims } from "./claims.ts";
import { deleteAuction } from "./delete-auction.ts";
import { defineLots } from "./define-lots.ts";
import { openAuction, advanceDueLots } from "./lot-changes.ts";
import { readAuction, readLots } from "./lots.ts";
import { optimisticStrategy } from "./optimistic.ts";
import { requestRestore, restoreAuction, restoreLot, RestoreSuperseded } from "./restore.ts";
import { confirmServer, readRunId, wasPromoted } from "./server-identity.ts";
import { NO_DEADLINE, openConnections, startStore } from "../testing/store.ts";

const { redis, store } = await startStore();

const NEVER = { epoch: 0, seq: 0 };
const UNCONFIRMED = [{ outcome: "unavailable", why: "unconfirmed" }];

test("a server that was started again decides nothing until it is confirmed, by either strategy", async () => {
  const { definition, keys } = await defineAndOpen(store, {
    lots: [lotDefinition("lot-1", { lastsMs: 1 }), lotDefinition("lot-2")],
  });
  const optimistic = optimisticStrategy(openConnections(redis.url), keys);
  const strategies = [scriptStrategy(store, keys), optimistic];
  let amountMinor = 1_000;
  // The second strategy has eight connections: each may come back a moment later.
  const place = (strategy: (typeof strategies)[number]) =>
    until("it is connected", async () => {
      const bids = [bid((amountMinor += 500))];
      return (await strategy.decide("lot-2", bids, NEVER, NO_DEADLINE)).placements;
    });
  const first = await readRunId(store);
  expect(await confirmServer(store, keys, first)).toBe(true);
  for (const strategy of strategies) {
    expect(await place(strategy)).toMatchObject([{ outcome: "accepted" }]);
  }
  await redis.kill();
  await redis.restart();
  await until("Redis is back", () => store.ping());
  const second = await readRunId(store);
  expect(second).not.toBe(first);
  expect(await wasPromoted(store)).toBe(false);
  for (const strategy of strategies) {
    expect(await place(strategy)).toEqual(UNCONFIRMED);
  }
  // Nor does anything else that records events.
  expect(await advanceDueLots(store, keys)).toMatchObject({ opened: [], closed: [] });
  expect(await openAuction(store, keys, ["lot-1", "lot-2"])).toBeNull();
  const maxPendingBytes = MAX_PENDING_BYTES;
  expect(await defineLots(store, keys, definition, { maxPendingBytes })).toEqual({
    outcome: "unconfirmed",
  });
  expect(await confirmServer(store, keys, first)).toBe(false);
  expect(await confirmServer(store, keys, second)).toBe(true);
  for (const strategy of strategies) {
    expect(await place(strategy)).toMatchObject([{ outcome: "accepted" }]);
  }
  expect((await advanceDueLots(store, keys)).closed).toEqual(["lot-1"]);
});

test("a bidder's process that knows of a later event leaves word of it, and the furthest counts", async () => {
  const { keys } = await defineAndOpen(store);
  const { decide } = scriptStrategy(store, keys);
  for (const seq of [7, 9, 8]) {
    const { placements } = await decide("lot-1", [bid(5_000)], { epoch: 1, seq }, NO_DEADLINE);
    expect(placements).toEqual([{ outcome: "unavailable", why: "regressed" }]);
  }
  const { ahead } = (await readAuction(store, keys))!;
  expect([...ahead]).toEqual([["lot-1", { epoch: 1, seq: 9 }]]);
});

test("claims are read in order, each event once, and only what goes on without a gap is used", async () => {
  const { keys } = await defineAndOpen(store);
  const event = (seq: number, epoch = 1) =>
    `{"type":"lot_withdrawn","lotId":"lot-1","epoch":${epoch},"seq":${seq},"atMs":1}`;
  const last = { epoch: 1, seq: 8 };
  await claimEvents(store, keys, "lot-1", last, [event(5), `${event(6)}\n${event(8)}`, "not one"]);
  await claimEvents(store, keys, "lot-1", last, [event(4), event(5)]);
  const claimed = (await readClaims(store, keys)).get("lot-1")!;
  expect(claimed.map(({ seq }) => seq)).toEqual([4, 5, 6, 8]);
  expect(contiguousAfter(claimed, { epoch: 1, seq: 4 }).map(({ seq }) => seq)).toEqual([5, 6]);
  expect(contiguousAfter(claimed, { epoch: 1, seq: 2 })).toEqual([]);
  expect(contiguousAfter(claimed, { epoch: 2, seq: 4 })).toEqual([]);
});

test("claims of the release before are read, too, and end with a restore and with the auction", async () => {
  const { keys } = await defineAndOpen(store);
  const event = (seq: number) =>
    `{"type":"lot_withdrawn","lotId":"lot-1","epoch":1,"seq":${seq},"atMs":1}`;
  const claimAsBefore = (text: string) =>
    store.xadd(keys.formerClaims, "*", "lotId", "lot-1", "events", text);
  const last = { epoch: 1, seq: 6 };
  await claimEvents(store, keys, "lot-1", last, [event(5), event(6)]);
  for (const text of [event(6), `${event(7)}\n${event(8)}`, "not one"]) await claimAsBefore(text);
  const claimed = (await readClaims(store, keys)).get("lot-1")!;
  expect(claimed.map(({ seq }) => seq)).toEqual([5, 6, 7, 8]);

  await requestRestore(store, keys);
  await restoreLot(store, keys, 2, "lot-1", null, null, null, []);
  await restoreAuction(store, keys, {
    epoch: 2,
    floorId: "0-0",
    archivedId: "0-0",
    fields: {},
    claimed: [],
    lotIds: ["lot-1"],
  });
  expect(await readClaims(store, keys)).toEqual(new Map());
  await claimAsBefore(event(9));
  await deleteAuction(store, keys, ["lot-1"]);
  expect(await store.keys(`${keys.formerClaims}*`)).toEqual([]);
});

test("what several processes claim again and again is kept once, and only so much of it", async () => {
  const { keys } = await defineAndOpen(store);
  const event = (seq: number) =>
    `{"type":"lot_withdrawn","lotId":"lot-1","epoch":1,"seq":${seq},"atMs":1}`;
  const claim = (seq: number, entries: string[]) =>
    claimEvents(store, keys, "lot-1", { epoch: 1, seq }, entries);
  const some = [event(5), event(6)];
  await claim(6, []); // a process that has the position and not the events
  await claim(6, some);
  const kept = await store.memory("USAGE", keys.claims);
  for (let again = 0; again < 200; again++) await claim(6, some);
  expect(await store.memory("USAGE", keys.claims)).toBe(kept);

  const large = (seq: number) => `${event(seq)}\n${"x".repeat(1024 * 1024)}`;
  for (let seq = 7; seq <= 40; seq++) await claim(seq, [large(seq)]);
  expect(await store.memory("USAGE", keys.claims)).toBeLessThan(24 * 1024 * 1024);
  expect((await readAuction(store, keys))!.ahead.get("lot-1")).toEqual({ epoch: 1, seq: 40 });
  const claimed = (await readClaims(store, keys)).get("lot-1")!;
  expect(claimed.map(({ seq }) => seq)).toEqual([5, 6]); // the large texts are not events
});

test("of two restores the one with the higher epoch ends, and a store that decides again is left alone", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const auction = (await readAuction(store, keys))!;
  const [lot] = await readLots(store, keys, auction, ["lot-1"]);
  const write = (epoch: number) => restoreLot(store, keys, epoch, "lot-1", null, lot!, null, []);
  const end = (epoch: number) =>
    restoreAuction(store, keys, {
      epoch,
      floorId: "9-9",
      archivedId: "9-9",
      fields: {},
      claimed: [],
      lotIds: definition.lots.map(({ lotId }) => lotId),
    });
  await write(2);
  await write(3);
  await expect(write(2)).rejects.toThrow(RestoreSuperseded);
  await expect(end(2)).rejects.toThrow(RestoreSuperseded);
  expect(await confirmServer(store, keys, await readRunId(store))).toBe(false);
  await end(3);
  await expect(write(4)).rejects.toThrow(RestoreSuperseded);
  expect((await readAuction(store, keys))!.epoch).toBe(3);
});
