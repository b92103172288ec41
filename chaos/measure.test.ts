import { describe, expect, test } from "vitest";
import type { Second } from "../load/in-cluster/plan.ts";
import { addLatency, type Latencies } from "../load/latencies.ts";
import { kneeOf, type Step } from "./knee.ts";
import { bidsBackMs, judgeP99, percentile, windowOf } from "./measure.ts";

function second(atMs: number, more: Partial<Second> = {}, latencyMs = 10): Second {
  const latencies: Latencies = {};
  for (let i = 0; i < 100; i++) addLatency(latencies, latencyMs);
  return {
    atMs,
    rate: 100,
    due: 100,
    accepted: 100,
    rejected: 0,
    refused: 0,
    unknown: 0,
    failedOverHttp: 0,
    dropped: 0,
    latencies,
    pending: 0,
    odd: [],
    frames: 1_000,
    watching: 10,
    broken: 0,
    back: [],
    notRecovered: 0,
    ...more,
  };
}

describe("p99 against calm", () => {
  test("an equal p99 holds, and so does 10 ms more on a fast system", () => {
    expect(judgeP99([5, 6, 5], [5, 6, 7]).judged).toBe("held");
    expect(judgeP99([5, 6, 5], [14, 15, 14]).judged).toBe("held");
  });

  test("20 % more on a slow system holds, 25 % is broken", () => {
    expect(judgeP99([100, 101, 99], [119, 120, 118]).judged).toBe("held");
    expect(judgeP99([100, 101, 99], [126, 125, 124]).judged).toBe("broken");
  });

  test("one bad window of three is ignored; with two the result is neither held nor broken", () => {
    expect(judgeP99([5, 5, 5], [5, 400, 5]).judged).toBe("held");
    expect(judgeP99([5, 5, 5], [5, 400, 400]).judged).toBe("not judged");
    expect(judgeP99([5, 5, 5], [400, 400, 400]).judged).toBe("broken");
    expect(judgeP99([30, 40, 70, 35], [60, 150, 30, 66]).judged).toBe("not judged");
    expect(judgeP99([30, 40, 70, 35], [90, 150, 60, 80]).judged).toBe("broken");
  });

  test("calm windows above the cluster's capacity give no result", () => {
    expect(judgeP99([105, 120, 130], [5, 5, 5]).judged).toBe("not judged");
    expect(judgeP99([105, 120, 130], [900, 900, 900]).judged).toBe("not judged");
  });

  test("fewer than three windows, or windows without bids, give no result", () => {
    expect(judgeP99([5, 5], [5, 5]).judged).toBe("not judged");
    expect(judgeP99([5, 5, 5], [NaN, NaN, 5]).judged).toBe("not judged");
  });
});

test("a window merges its seconds: rates a second, latencies by all bids", () => {
  const seconds = [second(1_000), second(2_000, { refused: 3, accepted: 80, rejected: 10 }, 200)];
  const window = windowOf(seconds);
  expect(window).toMatchObject({ seconds: 2, decided: 190, decidedPerSecond: 95, refused: 3 });
  expect(window.p50Ms).toBeGreaterThan(9);
  expect(window.p50Ms).toBeLessThan(11);
  expect(window.p99Ms).toBeGreaterThan(190);
  expect(windowOf([]).p99Ms).toBeNaN();
});

test("bids have recovered after the last second with a failed attempt, by this machine's clock", () => {
  const seconds = [
    second(10_000),
    second(11_000, { unknown: 2 }),
    second(12_000),
    second(13_000, { refused: 1 }),
    second(14_000),
  ];
  expect(bidsBackMs(seconds, 10_200, 0)).toBe(2_800);
  expect(bidsBackMs(seconds, 10_200, 500)).toBe(2_300);
  expect(bidsBackMs([second(10_000)], 9_500, 0)).toBe(0);
});

test("percentiles are by nearest rank", () => {
  const hundred = Array.from({ length: 100 }, (_, n) => n + 1);
  expect([percentile(hundred, 0.95), percentile(hundred, 0.99), percentile([7], 0.99)]).toEqual([
    95, 99, 7,
  ]);
  expect(percentile([], 0.5)).toBeNaN();
});

test("the knee is the highest sustained rate, and the fixed rate is 40 % of it", () => {
  const step = (rate: number, decidedPerSecond: number, p99Ms: number): Step => ({
    rate,
    seconds: 10,
    due: rate * 10,
    decided: decidedPerSecond * 10,

    refused: 0,
    unknown: 0,
    dropped: 0,
    viewersBroken: 0,
    decidedPerSecond,
    framesPerSecond: 0,
    p50Ms: 1,
    p99Ms,
  });
  const steps = [step(100, 100, 20), step(200, 199, 40), step(400, 398, 300), step(800, 500, 50)];
  expect(kneeOf(steps, 500, 2)).toMatchObject({ knee: 200, fixedRate: 80, viewers: 500 });
  expect(kneeOf(steps.slice(0, 2), 500, 2).knee).toBe(200);
  expect(() => kneeOf(steps.slice(2), 500, 2)).toThrow(/400 bids.s are already above the knee/);
});
