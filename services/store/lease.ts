import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";

/**
 * Acquires or renews a lease. Its holder does the work. The work is idempotent: a lease saves effort, and
 * correctness does not depend on it.
 */
export async function holdLease(
  store: Store,
  keys: Keys,
  work: "clock" | "relay",
  holder: string,
  ttlMs: number,
): Promise<boolean> {
  const [held] = await store.holdLease(keys.lease(work), holder, ttlMs);
  return held === 1;
}

export async function releaseLease(
  store: Store,
  keys: Keys,
  work: "clock" | "relay",
  holder: string,
): Promise<void> {
  await store.holdLease(keys.lease(work), holder, 0);
}
