/** The memory budget of an Auction, and the memory of its Redis pod. */
import {
  type Capacity,
  maxKeysBytesFor,
  maxMemoryWithin,
  memoryBudgetOf,
} from "../../services/store/memory-budget.ts";
import type { Spec } from "../api/auction-resource.ts";

export function capacityOf({ lots, tiers }: Spec): Capacity {
  const { outboxMaxBytes, acceptedPerSecond } = tiers.archival;
  return {
    lots: lots.length,
    maxPendingBytes: outboxMaxBytes,
    maxKeysBytes: maxKeysBytesFor(acceptedPerSecond),
  };
}

/**
 * The `maxmemory` of a Managed Redis. Where the Auction gives its pod less memory than the budget, Redis must refuse
 * writes before the kernel kills it; the condition MemoryShort says so.
 */
export function managedMaxMemory(spec: Spec): { maxMemoryBytes: number; processBytes: number } {
  const budget = memoryBudgetOf(capacityOf(spec));
  const given = spec.backing.redis.managed?.resources?.limits?.["memory"];
  const limit = given === undefined ? Infinity : bytesOf(String(given));
  return {
    maxMemoryBytes: Math.min(budget.maxMemoryBytes, maxMemoryWithin(limit)),
    processBytes: budget.processBytes,
  };
}

const UNITS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5,
  Ei: 1024 ** 6,
};

/** @param quantity of Kubernetes, as the schema admits it */
function bytesOf(quantity: string): number {
  const [, number, unit] = /^\+?([\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(quantity)!;
  return Number(number) * (unit === "" ? 1 : UNITS[unit!]!);
}
