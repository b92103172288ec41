import { expect, test } from "vitest";
import {
  DEFAULT_ACCEPTED_PER_SECOND,
  maxKeysBytesFor,
  memoryBudgetOf,
  memoryShortage,
} from "./memory-budget.ts";

const MIB = 1024 ** 2;
const usual = {
  lots: 200,
  maxPendingBytes: 256 * MIB,
  maxKeysBytes: maxKeysBytesFor(DEFAULT_ACCEPTED_PER_SECOND),
};

test("the parts of the budget are within maxmemory, which leaves its process room for a fork", () => {
  const { parts, maxMemoryBytes, processBytes } = memoryBudgetOf(usual);
  const sum = parts.reduce((total, { bytes }) => total + bytes, 0);
  expect(sum).toBeLessThanOrEqual(maxMemoryBytes);
  expect(maxMemoryBytes - sum).toBeLessThan(MIB);
  expect(processBytes).toBeGreaterThanOrEqual(1.5 * maxMemoryBytes);
});

test("every limit that is raised raises the budget", () => {
  const { maxMemoryBytes } = memoryBudgetOf(usual);
  for (const [name, value] of Object.entries(usual)) {
    expect(memoryBudgetOf({ ...usual, [name]: 2 * value }).maxMemoryBytes).toBeGreaterThan(
      maxMemoryBytes,
    );
  }
});

test("20,000 accepted bids a second have room for their keys for a whole window", () => {
  expect(maxKeysBytesFor(20_000) / 256).toBe(20_000 * 600);
});

test("a maxmemory that is absent or too low is named with what to set", () => {
  const { maxMemoryBytes } = memoryBudgetOf(usual);
  expect(memoryShortage(usual, maxMemoryBytes)).toBeNull();
  expect(memoryShortage(usual, 0)).toContain(`set maxmemory ${maxMemoryBytes}`);
  expect(memoryShortage(usual, maxMemoryBytes - 1)).toContain(
    `has maxmemory ${maxMemoryBytes - 1}`,
  );
});
