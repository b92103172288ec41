import { expect, test } from "vitest";
import { addLatency, countOf, type Latencies, mergeLatencies, quantileOf } from "./latencies.ts";

const of = (...all: number[]): Latencies => {
  const latencies: Latencies = {};
  for (const ms of all) addLatency(latencies, ms);
  return latencies;
};

test("quantiles are at most 5 % above the exact value, and never below", () => {
  const all = Array.from({ length: 1_000 }, (_, n) => n + 1);
  for (const [q, exact] of [
    [0.5, 500],
    [0.99, 990],
    [1, 1_000],
  ] as const) {
    const quantile = quantileOf(of(...all), q);
    expect(quantile).toBeGreaterThanOrEqual(exact);
    expect(quantile).toBeLessThan(exact * 1.0501);
  }
});

test("merged counts have the quantiles of all values", () => {
  const merged = mergeLatencies([of(1, 2, 3), of(100), of()]);
  expect(countOf(merged)).toBe(4);
  expect(quantileOf(merged, 0.99)).toBe(quantileOf(of(1, 2, 3, 100), 0.99));
  expect(quantileOf(of(), 0.5)).toBeNaN();
});
