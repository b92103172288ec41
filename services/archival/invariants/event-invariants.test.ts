import { expect, test } from "vitest";
import { randomHistory, seededRandom } from "../../lot/checker/random-history.ts";
import type { BidAccepted, LotEvent } from "../../lot/events.ts";
import { EventInvariants } from "./event-invariants.ts";

const SHAPE = {
  lots: 2,
  steps: 300,
  viewers: 1,
  gapMs: 3,
  delayMs: 4,
  lastsMs: 400,
  finish: true,
  weights: { move: 2 },
} as const;

const kindsOf = (invariants: EventInvariants, events: readonly LotEvent[]) =>
  events.flatMap((event) => invariants.check(event).map(({ kind }) => kind));

const opened: LotEvent = {
  type: "lot_opened",
  lotId: "lot-1",
  epoch: 1,
  seq: 1,
  atMs: 100,
  opensAtMs: 100,
  closesAtMs: 1_000,
  minimumMinor: 100,
};

function bid(seq: number, amountMinor: number, changes: Partial<BidAccepted> = {}): LotEvent {
  return {
    type: "bid_accepted",
    lotId: "lot-1",
    epoch: 1,
    seq,
    atMs: 100 + seq,
    amountMinor,
    bidId: `bid-${seq}`,
    bidderId: "ada",
    key: "k",
    minimumMinor: amountMinor + 10,
    closesAtMs: 1_000,
    reserveMet: null,
    ...changes,
  };
}

function closed(seq: number, changes: object = {}): LotEvent {
  return {
    type: "lot_closed",
    lotId: "lot-1",
    epoch: 1,
    seq,
    atMs: 1_000,
    outcome: "sold",
    bidId: `bid-${seq - 1}`,
    bidderId: "ada",
    amountMinor: 110,
    ...changes,
  };
}

const good = [opened, bid(2, 100), bid(3, 110)];

test("whatever the rules decide is right", () => {
  let events = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const { log } = randomHistory(seededRandom(seed), SHAPE);
    const invariants = new EventInvariants();
    for (const event of log) expect(invariants.check(event), JSON.stringify(event)).toEqual([]);
    events += log.length;
  }
  expect(events).toBeGreaterThan(1_000);
});

test("each way to be wrong is found, under its name, and once", () => {
  const cases: [what: string, events: LotEvent[], kinds: string[]][] = [
    ["nothing wrong", [...good, closed(4)], []],
    ["a missing event", [opened, bid(3, 110)], ["sequence"]],
    ["no first event", [bid(2, 100)], ["sequence"]],
    ["the same again", [...good, bid(3, 120, { atMs: 104 })], ["sequence"]],
    ["an earlier epoch", [opened, bid(2, 100, { epoch: 2 }), bid(3, 110)], ["epoch"]],
    ["a new epoch that goes back", [...good, bid(3, 120, { epoch: 2, atMs: 105 })], ["sequence"]],
    ["a new epoch that goes on", [...good, bid(9, 120, { epoch: 2 })], []],
    ["an earlier time", [...good, bid(4, 120, { atMs: 101 })], ["time"]],
    ["less than the minimum", [...good, bid(4, 119)], ["amount"]],
    ["the same amount", [...good, bid(4, 110)], ["amount"]],
    ["less than the start", [opened, bid(2, 99)], ["amount"]],
    [
      "a bid on a closed lot",
      [...good, closed(4), bid(5, 120, { atMs: 1_001, closesAtMs: 2_000 })],
      ["after_close", "after_close"],
    ],
    ["a bid too late", [...good, bid(4, 120, { atMs: 1_000 })], ["after_close"]],
    ["another winner", [...good, closed(4, { bidId: "bid-2" })], ["result"]],
    ["another amount", [...good, closed(4, { amountMinor: 111 })], ["result"]],
    [
      "no bids, although there are",
      [...good, closed(4, { outcome: "no_bids", bidId: null })],
      ["result"],
    ],
  ];
  for (const [what, events, kinds] of cases) {
    expect([what, kindsOf(new EventInvariants(), events)]).toEqual([what, kinds]);
  }
});

test("a known gap excuses the gap and what cannot be known, and nothing that cannot be undone", () => {
  const invariants = new EventInvariants();
  expect(kindsOf(invariants, good)).toEqual([]);
  invariants.expectGap("lot-1");
  expect(kindsOf(invariants, [bid(7, 200), bid(8, 210)])).toEqual([]);
  expect(kindsOf(invariants, [bid(10, 220)])).toEqual(["sequence"]);
  invariants.expectGap("lot-1");
  expect(kindsOf(invariants, [bid(12, 100)])).toEqual(["amount"]);
  expect(kindsOf(new EventInvariants([], true), [bid(7, 200)])).toEqual([]);
});

test("lots are apart, and an event that goes back does not move its lot", () => {
  const invariants = new EventInvariants();
  expect(kindsOf(invariants, good)).toEqual([]);
  expect(kindsOf(invariants, [{ ...opened, lotId: "lot-2" }, bid(2, 110)])).toContain("sequence");
  expect(kindsOf(invariants, [bid(4, 120)])).toEqual([]);
});
