import { expect, test } from "vitest";
import type { Delivery } from "../../bus/entry.ts";
import { encodeEvents, type LotEvent } from "../../lot/events.ts";
import { buildBatch } from "./build-batch.ts";
import { changesOf } from "../postgres/projections.ts";
import { Retention } from "./retention.ts";
import type { Tail, Tails } from "../postgres/lot-tails.ts";

function bid(seq: number, epoch = 1, lotId = "lot-1"): LotEvent {
  return {
    type: "bid_accepted",
    lotId,
    epoch,
    seq,
    atMs: seq,
    bidId: `${epoch}-${seq}`,
    bidderId: "ada",
    amountMinor: seq,
    minimumMinor: seq + 1,
    closesAtMs: 9,
    key: "k",
    reserveMet: null,
  };
}

/** The message of an entry `<n>-0` that comes right after `<n-1>-0`. */
function delivery(n: number, events: LotEvent[], after = n - 1): Delivery {
  const body = new TextEncoder().encode(encodeEvents(events));
  const lotId = events[0]!.lotId;
  const ids = { outboxId: `${n}-0`, afterId: `${after}-0` };
  return {
    storedAt: "2026-11-28T18:00:00.000000001Z",
    streamSeq: n,
    lotId,
    ...ids,
    traceparent: null,
    body,
    ack: () => {},
  };
}

function tails(lots: Record<string, Tail> = {}, lost = false): Tails {
  return { lots: new Map(Object.entries(lots)), initial: { epoch: 0, seq: 0, knownGap: lost } };
}

const at = (epoch: number, seq: number, knownGap = false): Tail => ({ epoch, seq, knownGap });

test("entries that follow each other make one batch", () => {
  const deliveries = [delivery(4, [bid(1), bid(2)]), delivery(5, [bid(3)])];
  const { batch, newTails } = buildBatch(deliveries, "3-0", tails());
  expect(batch).toMatchObject({ fromId: "3-0", toId: "5-0", letters: [] });
  expect(batch.entries.map(({ events }) => events.length)).toEqual([2, 1]);
  expect(newTails.get("lot-1")).toEqual(at(1, 3));
});

test("an entry delivered again is passed over", () => {
  const deliveries = [delivery(3, [bid(1)]), delivery(4, [bid(2)]), delivery(4, [bid(2)])];
  const { batch } = buildBatch(deliveries, "3-0", tails({ "lot-1": at(1, 1) }));
  expect(batch.entries.map(({ outboxId }) => outboxId)).toEqual(["4-0"]);
});

test("a missing entry is a gap, also when every lot's events follow", () => {
  expect(() => buildBatch([delivery(5, [bid(1)])], "3-0", tails())).toThrow(
    /follows 4-0, but the last archived entry is 3-0: entries are missing/,
  );
});

test("a missing event is a gap: within an entry, after the archived ones, and before the first", () => {
  const lot = tails({ "lot-1": at(1, 4) });
  expect(() => buildBatch([delivery(4, [bid(6)])], "3-0", lot)).toThrow("lot-1 1.6 follows 1.4");
  expect(() => buildBatch([delivery(4, [bid(5), bid(7)])], "3-0", lot)).toThrow(/1.7 follows 1.5/);
  expect(() => buildBatch([delivery(4, [bid(2)])], "3-0", tails())).toThrow(/1.2 follows 0.0/);
});

test("events archived before, and those of a new epoch, are no gap", () => {
  const lot = tails({ "lot-1": at(1, 4) });
  expect(buildBatch([delivery(4, [bid(2), bid(3)])], "3-0", lot).newTails.get("lot-1")).toEqual(
    at(1, 4),
  );
  expect(buildBatch([delivery(4, [bid(9, 2)])], "3-0", lot).newTails.get("lot-1")).toEqual(
    at(2, 9),
  );
});

test("after a known hole the next event may be any, the one after it not", () => {
  const lot = tails({ "lot-1": at(1, 4, true) });
  expect(buildBatch([delivery(4, [bid(8)])], "3-0", lot).newTails.get("lot-1")).toEqual(at(1, 8));
  expect(() => buildBatch([delivery(4, [bid(8), bid(10)])], "3-0", lot)).toThrow(
    /1.10 follows 1.8/,
  );
  expect(buildBatch([delivery(4, [bid(8)])], "3-0", tails({}, true)).batch.entries.length).toBe(1);
});

test("an entry that cannot be read leaves a hole in its lot and moves the watermark", () => {
  const bad = { ...delivery(4, [bid(5)]), body: new TextEncoder().encode("{") };
  const foreign = { ...delivery(5, [bid(1, 1, "lot-2")]), lotId: "lot-1" };
  const deliveries = [bad, foreign, delivery(6, [bid(7)])];
  const { batch, newTails } = buildBatch(deliveries, "3-0", tails({ "lot-1": at(1, 4) }));
  expect(batch.letters.map(({ reason, outboxId }) => [reason, outboxId])).toEqual([
    ["undecodable", "4-0"],
    ["undecodable", "5-0"],
  ]);
  expect(batch).toMatchObject({ toId: "6-0", entries: [{ outboxId: "6-0" }] });
  expect(newTails.get("lot-1")).toEqual(at(1, 7));
});

test("a lot's change is the sum of its events", () => {
  const closed: LotEvent = {
    type: "lot_closed",
    lotId: "lot-1",
    epoch: 1,
    seq: 3,
    atMs: 3,
    outcome: "sold",
    bidId: "1-2",
    bidderId: "ada",
    amountMinor: 2,
  };
  const events = [bid(1), bid(2), closed].map((event) => ({ event, body: "", outboxId: "4-0" }));
  expect(changesOf(events)).toMatchObject([
    { lotId: "lot-1", status: "closed", bids: 2, leading: { seq: 2 }, seq: 3, closesAtMs: 9 },
  ]);
});

test("what is kept is bounded by age and by bytes, whichever is less, and by the watermark", () => {
  const byAge = new Retention(1_000, 1_000_000);
  for (let ms = 5_000; ms <= 9_000; ms += 500) byAge.archived(`${ms}-0`, ms / 500, 10);
  expect(byAge.keepFrom(9_000, "9000-0")).toEqual({
    minId: "8000-0",
    streamSeq: 16,
  });
  expect(byAge.keepFrom(9_000, "9000-0")).toEqual({
    minId: "8000-0",
    streamSeq: null,
  });
  expect(byAge.keepFrom(99_000, "9000-0").minId).toBe("9000-0");

  const byBytes = new Retention(1_000_000, 100);
  for (let n = 1; n <= 50; n++) byBytes.archived(`${5_000 + n}-0`, n, 10);
  expect(byBytes.keepFrom(6_000, "5050-0")).toEqual({
    minId: "5040-0",
    streamSeq: 40,
  });
});

test("the marks of what is kept stay few", () => {
  const retention = new Retention(1_000, 1_000_000);
  for (let ms = 0; ms < 100_000; ms++) {
    retention.archived(`${ms}-0`, ms, 1);
    if (ms % 100 === 0) retention.keepFrom(ms, `${ms}-0`);
  }
  expect(retention.marks).toBeLessThan(300);
});
