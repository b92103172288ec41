/** Redis loses all, or some, of what it acknowledged, and gets it back under a higher epoch. */
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { decodeEvent, encodeEvent, type LotEvent } from "../../lot/events.ts";
import type { Lot } from "../../lot/lot.ts";
import { claimEvents } from "../../store/claims.ts";
import { defineLots } from "../../store/define-lots.ts";
import { eventsSince } from "../../store/history.ts";
import { advanceDueLots } from "../../store/lot-changes.ts";
import { readAuction, readLots } from "../../store/lots.ts";
import { compareIds, outboxTail } from "../../store/outbox.ts";
import { MAX_BATCH, type Placement, placeBids } from "../../store/place-bids.ts";
import {
  AuctionUnderTest,
  metric,
  startAtWork,
  startServers,
  stateOf,
  untilRestored,
} from "../../testing/archival.ts";
import { until } from "../../testing/until.ts";
import type { Archival } from "../app.ts";

const servers = await startServers();
const NEVER = { epoch: 0, seq: 0 };

async function lotsOf({ store, keys, lotIds }: AuctionUnderTest): Promise<Lot[]> {
  const auction = (await readAuction(store, keys))!;
  return (await readLots(store, keys, auction, lotIds)) as Lot[];
}

async function place(
  { store, keys }: AuctionUnderTest,
  bid: { amountMinor: number; key?: string; bidderId?: string; lotId?: string },
  seen = NEVER,
): Promise<Placement> {
  const { amountMinor, key = randomUUID(), bidderId = "ada", lotId = "lot-1" } = bid;
  const bids = [{ bidId: randomUUID(), bidderId, key, amountMinor }];
  const { placements } = await placeBids(store, keys, lotId, bids, seen, 2 ** 53 - 1);
  return placements[0]!;
}

/** Waits until JetStream has all of the outbox. */
async function relayed({ store, keys }: AuctionUnderTest, archival: Archival): Promise<void> {
  const tail = await outboxTail(store, keys);
  await until("all of it is relayed", async () => {
    return (await stateOf(archival)).relayedId === tail;
  });
}

test("a Redis emptied while the tier runs has every archived bid again, under a higher epoch", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  await auction.bid(60);
  const first = await place(auction, { amountMinor: 10_000, key: "mine", bidderId: 'a "b" ü' });
  await auction.expectAllArchived();
  const before = await lotsOf(auction);
  const stored = (await readAuction(auction.store, auction.keys))!;
  const tail = await outboxTail(auction.store, auction.keys);
  const archived = await auction.archived();

  await auction.wipe();
  await untilRestored(archival);
  const after = await lotsOf(auction);
  expect(after).toEqual(before.map((lot) => ({ ...lot, epoch: 2 })));
  const again = (await readAuction(auction.store, auction.keys))!;
  const { confirmedServer, rules, lotIds, opensAtMs, rulesHash, maxPendingBytes } = stored;
  expect(again).toMatchObject({ epoch: 2, pendingBytes: 0, ahead: new Map() });
  expect(again).toMatchObject({ confirmedServer, rules, lotIds, opensAtMs, rulesHash });
  expect(again.maxPendingBytes).toBe(maxPendingBytes);

  // The key of a bid from before is answered as then; a new bid goes on above all of them.
  const retried = { amountMinor: 10_000, key: "mine", bidderId: 'a "b" ü' };
  expect(await place(auction, retried)).toEqual(first);
  expect(await place(auction, { ...retried, amountMinor: 10_001 })).toEqual({
    outcome: "key_reused",
  });
  expect(await place(auction, { amountMinor: 10_000 })).toMatchObject({ outcome: "too_low" });
  const seq = before[0]!.seq + 1;
  expect(await place(auction, { amountMinor: 20_000 })).toMatchObject({ epoch: 2, seq });
  expect(compareIds(await outboxTail(auction.store, auction.keys), tail)).toBeGreaterThan(0);
  await until("it is archived", async () => (await auction.archived()).length > archived.length);
  expect((await auction.archived()).slice(0, 5)).toEqual(archived.slice(0, 5));
  const since = { epoch: 1, seq: before[1]!.seq - 1 };
  expect(await eventsSince(auction.store, auction.keys, "lot-2", since, 10)).toHaveLength(1);
  expect(await auction.column("select reason from dead_letters where auction_uid = $1")).toEqual(
    [],
  );
});

test("what JetStream has and Postgres has not is restored, too, and its keys are answered", async () => {
  const { auction, archival } = await startAtWork(servers, 9);
  await servers.postgres.kill();
  await auction.bid(30);
  const last = await place(auction, { amountMinor: 50_000, key: "late" });
  await relayed(auction, archival);
  const before = await lotsOf(auction);
  await archival.stop();
  await auction.wipe();
  await servers.postgres.restart();
  await untilRestored(await auction.start());
  expect(await lotsOf(auction)).toEqual(before.map((lot) => ({ ...lot, epoch: 2 })));
  expect(await place(auction, { amountMinor: 50_000, key: "late" })).toEqual(last);
  expect(await auction.column("select reason from dead_letters where auction_uid = $1")).toEqual(
    [],
  );
});

test("closed and withdrawn lots stay so, and outbox ids go on above Postgres's whatever the clock says", async () => {
  const auction = new AuctionUnderTest(servers);
  const definition = auction.definition();
  const [first, second, third] = definition.lots;
  const lots = [{ ...first!, lastsMs: 2_000 }, { ...second!, withdrawn: true }, third!];
  auction.writeRules({ ...definition, lots });
  const archival = await auction.start();
  await auction.open();
  expect(await place(auction, { amountMinor: 100 })).toMatchObject({ outcome: "accepted" });
  await until("lot-1 is closed", async () => {
    await auction.passTime();
    return (await lotsOf(auction))[0]!.status === "closed";
  });
  await auction.expectAllArchived();
  // As if this Redis's clock had been a year ahead of the next one's.
  const future = `${Date.now() + 365 * 86_400_000}-7`;
  await auction.archive.query("update watermarks set outbox_id = $2 where auction_uid = $1", [
    auction.uid,
    future,
  ]);
  await archival.stop();
  const before = await lotsOf(auction);
  await auction.wipe();
  await untilRestored(await auction.start());
  expect(await lotsOf(auction)).toEqual(before.map((lot) => ({ ...lot, epoch: 2 })));
  expect(await place(auction, { amountMinor: 200 })).toMatchObject({ outcome: "closed" });
  const gone = { amountMinor: 200, lotId: "lot-2" };
  expect(await place(auction, gone)).toMatchObject({ outcome: "withdrawn" });
  expect(await advanceDueLots(auction.store, auction.keys)).toMatchObject({
    opened: [],
    closed: [],
  });
  const more = { amountMinor: 200, lotId: "lot-3" };
  expect(await place(auction, more)).toMatchObject({ outcome: "accepted", epoch: 2 });
  const tail = await outboxTail(auction.store, auction.keys);
  expect(compareIds(tail, future)).toBeGreaterThan(0);
  await until("it is archived", async () => {
    return (await auction.column("select count(*) from bids where auction_uid = $1"))[0] === "2";
  });
});

test("a Redis that was started again with all it had is confirmed, without Postgres and NATS", async () => {
  const { auction, archival } = await startAtWork(servers);
  await Promise.all([servers.nats.kill(), servers.postgres.kill()]);
  await servers.redis.kill();
  await servers.redis.restart();
  const readyAtMs = performance.now();
  await until("Redis is back", () => auction.store.ping());
  await until("bids are taken", async () => {
    const placement = await place(auction, { amountMinor: 10_000 });
    if (placement.outcome === "accepted") return true;
    expect(placement).toEqual({ outcome: "unavailable", why: "unconfirmed" });
    return false;
  });
  const tookMs = performance.now() - readyAtMs;
  console.log(`bids resume ${Math.round(tookMs)} ms after a restarted Redis is ready`);
  expect(tookMs).toBeLessThan(15_000);
  expect((await readAuction(auction.store, auction.keys))!.epoch).toBe(1);
  await Promise.all([servers.nats.restart(), servers.postgres.restart()]);
  await auction.expectAllArchived();
  expect(await metric(archival, "gavel_archival_regressions_total")).toBe(0);
});

test("a lot with events cannot be dropped from the definition, and begin again at 1", async () => {
  const auction = new AuctionUnderTest(servers);
  const definition = auction.definition();
  const lots = definition.lots.map((lot, i) => ({ ...lot, withdrawn: i === 0 }));
  auction.writeRules({ ...definition, lots });
  await auction.start();
  await auction.connected();
  await until("it is withdrawn", async () => {
    const stored = await readAuction(auction.store, auction.keys);
    return stored !== null && (await lotsOf(auction))[0]!.seq === 1;
  });
  const dropped = { ...definition, lots: lots.slice(1) };
  const { store, keys } = auction;
  expect(await defineLots(store, keys, dropped, { maxPendingBytes: 1e9 })).toMatchObject({
    outcome: "refused",
    why: expect.stringContaining("lot-1"),
  });
});

test("what many claims restore is relayed in entries that are no larger than those of scripts", async () => {
  const { auction, archival } = await startAtWork(servers, 6);
  await archival.stop();
  const latest = decodeEvent((await auction.archived()).findLast((text) => text.includes("bid_"))!);
  const lotId = latest.lotId;
  const lot = (await lotsOf(auction)).find((one) => one.lotId === lotId)!;
  const claimed = Array.from({ length: 2 * MAX_BATCH + 1 }, (_, index) => {
    const [seq, amountMinor] = [lot.seq + index + 1, 1_000 + index];
    const bid = { bidId: randomUUID(), key: randomUUID(), seq, amountMinor };
    return encodeEvent({ ...latest, ...bid, minimumMinor: amountMinor + 1 } as LotEvent);
  });
  const last = { epoch: lot.epoch, seq: lot.seq + claimed.length };
  await claimEvents(auction.store, auction.keys, lotId, last, claimed);
  await untilRestored(await auction.start());
  await auction.expectAllArchived();
  expect(await auction.archived()).toEqual(expect.arrayContaining(claimed));
  const entries = await auction.store.xrange(auction.keys.outbox, "-", "+");
  const sizes = entries.map(([, fields]) => fields[3]!.split("\n").length);
  expect(sizes.filter((size) => size > 3)).toEqual([MAX_BATCH, MAX_BATCH]);
});
