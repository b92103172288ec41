import { expect, test } from "vitest";
import { kindsOf, scheduleOf } from "./schedule.ts";

test("a seed and a duration make one schedule, another seed another", () => {
  expect(scheduleOf(7, 60_000)).toEqual(scheduleOf(7, 60_000));
  expect(scheduleOf(7, 60_000)).not.toEqual(scheduleOf(8, 60_000));
});

test("the faults of a lane do not overlap, and a quarter of the time is calm", () => {
  const schedule = scheduleOf(1, 300_000);
  for (const lane of ["bids", "archive"]) {
    const own = schedule.filter((injection) => injection.lane === lane);
    own.reduce((before, after) => {
      expect(after.atMs).toBeGreaterThanOrEqual(before.atMs + before.lastsMs);
      return after;
    });
  }
  for (const { atMs, lastsMs } of schedule) {
    expect((atMs % 8_000) + lastsMs).toBeLessThanOrEqual(6_000);
  }
});

test("90 seconds have at least twelve kinds; ten minutes have each kind on each of its targets", () => {
  expect(new Set(scheduleOf(3, 90_000).map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(12);
  const long = scheduleOf(3, 700_000);
  expect(long.length).toBeGreaterThan(200);
  const seen = new Set(long.map(({ kind, target }) => `${kind} ${target}`));
  const all = (["bids", "archive"] as const).flatMap((lane) =>
    kindsOf(lane).flatMap(({ kind, targets }) => targets.map((target) => `${kind} ${target}`)),
  );
  expect(all.filter((pair) => !seen.has(pair))).toEqual([]);
});
