/** Removing an auction from Redis for good. */
import type { Store } from "./connect.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** Longer than a process that showed the auction goes on claiming what it showed. */
const MARK_SECONDS = 3_600;

/** Keys in one call: bounds the time that Redis is busy. */
const KEYS_PER_CALL = 300;

/**
 * Removes all keys of an auction; its own hash goes first, so that nothing decides on half of it, and a call
 * that breaks off may be repeated.
 */
export async function removeAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<void> {
  await store.set(keys.cleaned, "1", "EX", MARK_SECONDS);
  const all = [
    keys.auction,
    keys.outbox,
    keys.due,
    ...keys.answers,
    keys.restoring,
    keys.claims,
    keys.invariants,
    keys.lease("clock"),
    keys.lease("relay"),
    ...keysOfLots(keys, lotIds),
  ];
  for (let at = 0; at < all.length; at += KEYS_PER_CALL) {
    await store.unlink(...all.slice(at, at + KEYS_PER_CALL));
  }
}
