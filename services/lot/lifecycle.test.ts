import { expect, test } from "vitest";
import { lot } from "../testing/auction.ts";
import { apply, due, result } from "./lifecycle.ts";

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
