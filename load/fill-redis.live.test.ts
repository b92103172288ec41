import { expect, test } from "vitest";
import { maxKeysBytesFor } from "../services/store/memory-budget.ts";
import { startStore } from "../services/testing/store.ts";
import { fillRedis } from "./fill-redis.ts";

test("a Redis filled to the limits answers full before it is out of memory, and each part is within its budget", async () => {
  const { store } = await startStore();
  const acceptedPerSecond = 15;
  const maxKeysBytes = maxKeysBytesFor(acceptedPerSecond);
  const capacity = { lots: 6, maxPendingBytes: 6 * 1024 ** 2, maxKeysBytes };
  const filled = await fillRedis(store, capacity);
  console.log(JSON.stringify(filled));
  expect(filled.parts).toHaveLength(4);
  for (const { name, bytes, budgetBytes } of filled.parts) {
    expect(bytes, name).toBeLessThanOrEqual(budgetBytes);
  }
  const outbox = filled.parts.find(({ name }) => name === "outbox")!;
  expect(outbox.bytes).toBeGreaterThan(capacity.maxPendingBytes);
  expect(filled.keys).toBeGreaterThanOrEqual(2 * acceptedPerSecond * 600);
  expect(filled.bytesPerKey).toBeGreaterThan(maxKeysBytes / acceptedPerSecond / 600 / 1.2);
  expect(filled.usedBytes).toBeLessThan(filled.maxMemoryBytes);
});
