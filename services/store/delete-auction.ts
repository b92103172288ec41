/** Deletes an auction from Redis. */
import type { Store } from "./connect.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** Longer than a process that showed the auction may still claim events of it. */
const MARK_SECONDS = 3_600;

/** Keys deleted in one call: bounds the time that Redis is busy. */
const KEYS_PER_CALL = 300;

/**
 * Deletes all keys of an auction. The auction's hash is deleted first, so that nothing decides on a part of it;
 * an interrupted call may be repeated.
 */
export async function deleteAuction(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<void> {
  await store.markDeleted(keys.cleaned, MARK_SECONDS);
  const all = [
    keys.auction,
    keys.outbox,
    keys.due,
    ...keys.answers,
    keys.restoring,
    keys.claims,
    keys.formerClaims,
    keys.healthSummary,
    keys.lease("clock"),
    keys.lease("relay"),
    ...keysOfLots(keys, lotIds),
  ];
  for (let at = 0; at < all.length; at += KEYS_PER_CALL) {
    await store.unlink(...all.slice(at, at + KEYS_PER_CALL));
  }
}
