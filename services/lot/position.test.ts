import { expect, test } from "vitest";
import { compare, follows, isBehind, type Position, START } from "./position.ts";

const at = (epoch: number, seq: number): Position => ({ epoch, seq });

test("positions are ordered by epoch, then by seq", () => {
  const shuffled = [at(2, 1), at(1, 10), START, at(1, 9), at(2, 0)];
  expect(shuffled.toSorted(compare)).toEqual([START, at(1, 9), at(1, 10), at(2, 0), at(2, 1)]);
  expect(compare(at(1, 3), at(1, 3))).toBe(0);
});

test("a position is behind one of a later epoch, or of a higher seq in its epoch", () => {
  expect(isBehind(at(1, 3), at(1, 4))).toBe(true);
  expect(isBehind(at(1, 9), at(2, 1))).toBe(true);
  expect(isBehind(at(1, 4), at(1, 3))).toBe(false);
  expect(isBehind(at(2, 1), at(1, 9))).toBe(false);
});

/**
 * There were two functions `isBehind`. The store's said false for equal positions: a process that knows as
 * much as the store is not behind it. The invariant monitor's said true: an event at the position of its lot
 * moved nothing, as an event before it. The second question is asked the other way round now:
 * the lot moves when it is behind the event.
 */
test("equal positions are not behind each other, so an event delivered twice moves nothing", () => {
  const lot = at(1, 3);
  expect(isBehind(lot, at(1, 3))).toBe(false);
  const moved = [at(1, 2), at(1, 3), at(1, 4), at(2, 1)].filter((event) => isBehind(lot, event));
  expect(moved).toEqual([at(1, 4), at(2, 1)]);
});

test("an event follows the one before it in its epoch, and the first event follows the start", () => {
  expect(follows(at(1, 4), at(1, 3))).toBe(true);
  expect(follows(at(1, 5), at(1, 3))).toBe(false);
  expect(follows(at(1, 3), at(1, 3))).toBe(false);
  expect(follows(at(1, 1), START)).toBe(true);
  expect(follows(at(2, 1), START)).toBe(true);
  expect(follows(at(1, 2), START)).toBe(false);
});

test("no event follows one of another epoch", () => {
  expect(follows(at(2, 4), at(1, 3))).toBe(false);
  expect(follows(at(1, 4), at(2, 3))).toBe(false);
});
