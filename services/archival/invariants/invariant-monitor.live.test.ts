import { expect, test } from "vitest";
import { decodeEvent, encodeEvent, type BidAccepted } from "../../lot/events.ts";
import type { Archival } from "../app.ts";
import {
  type AuctionUnderTest,
  metric,
  startAtWork,
  startServers,
} from "../../testing/archival.ts";
import { until } from "../../testing/until.ts";

const servers = await startServers();
const VIOLATIONS = "gavel_audit_violations_total";

async function violations(archival: Archival): Promise<Record<string, number>> {
  const text = await (await fetch(`${archival.internalUrl}/metrics`)).text();
  const lines = [...text.matchAll(/^gavel_audit_violations_total\{.*kind="(\w+)".*\} (\d+)$/gm)];
  return Object.fromEntries(lines.map(([, kind, count]) => [kind!, Number(count)]));
}

const NONE = {
  sequence: 0,
  epoch: 0,
  conflict: 0,
  time: 0,
  amount: 0,
  after_close: 0,
  result: 0,
};

/** The last bid of a lot, and one that would come right after it. */
async function nextBid(auction: AuctionUnderTest, changes: Partial<BidAccepted>): Promise<string> {
  const bodies = await auction.archived();
  const last = bodies.map(decodeEvent).findLast(({ lotId }) => lotId === "lot-1") as BidAccepted;
  return encodeEvent({
    ...last,
    seq: last.seq + 1,
    atMs: last.atMs + 1,
    bidId: `smuggled-${last.seq + 1}`,
    amountMinor: last.minimumMinor,
    minimumMinor: last.minimumMinor + 1,
    ...changes,
  });
}

async function archivedAll(auction: AuctionUnderTest, count: number): Promise<void> {
  await until("all is archived", async () => (await auction.archived()).length === count);
}

test("a correct auction has no violation, and the monitor's watermark follows the archive's", async () => {
  const { auction, archival } = await startAtWork(servers);
  expect(await violations(archival)).toEqual(NONE);
  const [watermark] = await auction.column(
    "select outbox_id from watermarks where auction_uid = $1",
  );
  await until("all is checked", async () => {
    const seconds = await metric(archival, "gavel_audit_checked_id_seconds");
    return Math.round(seconds * 1_000) === Number(watermark!.split("-")[0]);
  });
  expect(await metric(archival, "gavel_audit_checked_events_total")).toBe(
    (await auction.archived()).length,
  );
});

test("what contradicts a lot is counted by its kind, also after a restart, and archived as ever", async () => {
  const { auction, archival: first } = await startAtWork(servers, 6);
  let archival = first;
  let count = (await auction.archived()).length;

  await auction.smuggle("lot-1", await nextBid(auction, { amountMinor: 1 }));
  await archivedAll(auction, ++count);
  await until("it is counted", async () => (await violations(archival))["amount"] === 1);

  await archival.stop();
  archival = await auction.start();
  await auction.smuggle("lot-1", await nextBid(auction, { amountMinor: 2, atMs: 5 }));
  await archivedAll(auction, ++count);
  await until("both are counted", async () => (await violations(archival))["time"] === 1);
  expect(await violations(archival)).toEqual({ ...NONE, time: 1, amount: 1 });

  const closed = JSON.parse(await nextBid(auction, {})) as BidAccepted;
  const { lotId, epoch, seq, bidId, bidderId, amountMinor } = closed;
  const atMs = closed.atMs + 10_000;
  const winner = { outcome: "sold", bidId, bidderId, amountMinor } as const;
  await auction.smuggle(
    "lot-1",
    encodeEvent({ type: "lot_closed", lotId, epoch, seq, atMs: Date.now(), ...winner }),
  );
  await auction.smuggle("lot-1", encodeEvent({ ...closed, seq: seq + 1, atMs, bidId: "late" }));
  await archivedAll(auction, (count += 2));
  await until("they are counted", async () => (await violations(archival))["after_close"]);
  expect(await violations(archival)).toMatchObject({ result: 1, sequence: 0 });
  expect(await metric(archival, "gavel_archival_dead_letters_total", "conflict")).toBe(0);
});

test("an event that was never written is counted once, however often the pipeline stops before it", async () => {
  const { auction, archival } = await startAtWork(servers, 6);
  const next = JSON.parse(await nextBid(auction, {})) as BidAccepted;
  await auction.smuggle("lot-1", encodeEvent({ ...next, seq: next.seq + 1 }));
  await until("the pipeline stopped before it more than once", async () => {
    return (await metric(archival, "gavel_archival_pair_restarts_total", '"gap"')) >= 2;
  });
  expect(await violations(archival)).toEqual({ ...NONE, sequence: 1 });
  expect(await metric(archival, VIOLATIONS, '"sequence"')).toBe(1);
});
