import { expect, test } from "vitest";
import { TokenBucket } from "./token-bucket.ts";

test("a burst is granted at once, and then as much as the rate brings", () => {
  let nowMs = 0;
  const bucket = new TokenBucket(2, 2, () => nowMs);
  const take3 = () => [1, 2, 3].map(() => bucket.take());
  expect(take3()).toEqual([true, true, false]);
  nowMs = 499;
  expect(bucket.take()).toBe(false);
  nowMs = 500;
  expect([bucket.take(), bucket.take()]).toEqual([true, false]);
  nowMs = 1_500;
  expect(take3()).toEqual([true, true, false]);
  nowMs = 3_600_000;
  expect(take3()).toEqual([true, true, false]);
});

test("a refusal costs nothing", () => {
  let nowMs = 0;
  const bucket = new TokenBucket(1, 1, () => nowMs);
  bucket.take();
  for (let i = 0; i < 100; i++) bucket.take();
  nowMs = 1_000;
  expect(bucket.take()).toBe(true);
});

test("reservations beyond the burst wait their turn", () => {
  let nowMs = 0;
  const bucket = new TokenBucket(10, 100, () => nowMs);
  for (let i = 0; i < 100; i++) expect(bucket.reserve()).toBe(0);
  expect(bucket.reserve()).toBe(100);
  expect(bucket.reserve()).toBe(200);
  nowMs += 1_000;
  expect(bucket.reserve()).toBe(0);
});
