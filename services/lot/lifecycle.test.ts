import { expect, test } from "vitest";
import { lot } from "../testing/auction.ts";
import { apply, due, result, resumed } from "./lifecycle.ts";

const leadingBid = { bidId: "b", bidderId: "ann", amountMinor: 1_500 };

test("a lot opens at its opening and closes at its close, not before", () => {
  const scheduled = lot({ status: "scheduled", seq: 0, atMs: 0 });
  expect(due(scheduled, 999)).toEqual([]);
  expect(due(scheduled, 1_000)).toMatchObject([
    { type: "lot_opened", seq: 1, minimumMinor: 1_000 },
  ]);
  expect(due(lot(), 99_999)).toEqual([]);
  expect(due(lot(), 100_000)).toMatchObject([{ type: "lot_closed", seq: 2 }]);
});

test("a lot whose whole time passed unseen is opened and closed", () => {
  const events = due(lot({ status: "scheduled", seq: 0, atMs: 0 }), 200_000);
  expect(events).toMatchObject([
    { type: "lot_opened", seq: 1 },
    { type: "lot_closed", seq: 2, outcome: "no_bids" },
  ]);
});

test("nothing is due for a lot that is closed, withdrawn, or has no opening yet", () => {
  expect(due(lot({ status: "closed" }), 200_000)).toEqual([]);
  expect(due(lot({ status: "withdrawn" }), 200_000)).toEqual([]);
  expect(due(lot({ status: "scheduled", opensAtMs: null }), 200_000)).toEqual([]);
});

test("the leading bid wins where it meets the reserve", () => {
  const none = { bidId: null, bidderId: null, amountMinor: null };
  expect(result(lot())).toEqual({ outcome: "no_bids", ...none });
  expect(result(lot({ leadingBid }))).toEqual({ outcome: "sold", ...leadingBid });
  expect(result(lot({ leadingBid, reserveMinor: 1_500 }))).toMatchObject({ outcome: "sold" });
  const unmet = { outcome: "reserve_not_met", ...none };
  expect(result(lot({ leadingBid, reserveMinor: 1_501 }))).toEqual(unmet);
});

test("a withdrawn lot stays as it was, but for its status and place in the order", () => {
  const before = lot({ leadingBid });
  const event = { type: "lot_withdrawn", lotId: "lot-1", epoch: 1, seq: 2, atMs: 7 } as const;
  expect(apply(before, event)).toEqual({ ...before, status: "withdrawn", seq: 2, atMs: 7 });
});

test("nothing is due while an auction is suspended, or once it is fenced", () => {
  expect(due(lot({ intake: "suspended" }), 200_000)).toEqual([]);
  expect(due(lot({ intake: "fenced", status: "scheduled" }), 200_000)).toEqual([]);
});

test("a lot that goes on closes later by as long as it could not be bid on", () => {
  expect(resumed(lot({ extensions: 2 }), 40_000, 70_000)).toEqual([
    {
      type: "lot_extended",
      lotId: "lot-1",
      epoch: 1,
      seq: 2,
      atMs: 70_000,
      closesAtMs: 130_000,
      extensions: 2,
    },
  ]);
  // Its opening came meanwhile: it opens now, with all of its time.
  const scheduled = lot({ status: "scheduled", seq: 0, atMs: 0 });
  expect(resumed(scheduled, 500, 61_000)).toMatchObject([
    { type: "lot_opened", seq: 1, atMs: 61_000, closesAtMs: 100_000 },
    { type: "lot_extended", seq: 2, closesAtMs: 160_000 },
  ]);
});

test("a lot that had not opened, or was over before, is left as it is", () => {
  const scheduled = lot({ status: "scheduled", seq: 0, atMs: 0 });
  expect(resumed(scheduled, 500, 900)).toEqual([]);
  expect(resumed(lot(), 100_000, 170_000)).toEqual([]);
  expect(resumed(lot({ status: "closed" }), 40_000, 70_000)).toEqual([]);
  expect(resumed(lot({ status: "withdrawn" }), 40_000, 70_000)).toEqual([]);
  expect(resumed(lot({ opensAtMs: null }), 40_000, 70_000)).toEqual([]);
});
