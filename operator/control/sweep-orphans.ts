/**
 * Deletes objects whose Auction is gone although its drain did not end: somebody removed the finalizer, or
 * the operator was killed at its last step. Volumes stay: they may hold the only copy.
 */
import type { Logger } from "../../services/runtime/log.ts";
import type { Children } from "./children.ts";
import { UID_LABEL } from "../desired/identity.ts";
import { type AnyObject, keyOf } from "../kube/object.ts";

/** Younger objects may belong to an Auction that is not in the cache yet. */
const ORPHAN_MIN_AGE_MS = 10 * 60_000;

/** @param uids of all existing Auctions */
function orphansOf(
  objects: readonly AnyObject[],
  uids: ReadonlySet<string>,
  nowMs: number,
): AnyObject[] {
  return objects.filter(({ metadata }) => {
    const uid = metadata.labels?.[UID_LABEL];
    const ageMs = nowMs - Date.parse(metadata.creationTimestamp ?? new Date(nowMs).toISOString());
    return (
      uid !== undefined &&
      !uids.has(uid) &&
      !metadata.deletionTimestamp &&
      ageMs >= ORPHAN_MIN_AGE_MS
    );
  });
}

export async function sweepOrphans(
  children: Children,
  uids: ReadonlySet<string>,
  log: Logger,
): Promise<void> {
  for (const object of orphansOf(children.all(), uids, Date.now())) {
    log.warn({ kind: object.kind, object: keyOf(object) }, "orphan deleted: its Auction is gone");
    await children.remove(object);
  }
}
