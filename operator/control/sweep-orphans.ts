/**
 * What was made for an Auction that is no more, though its finalizer never ran to the end: somebody took
 * the finalizer away, or the operator's last act was cut. Volumes stay: they may hold the only copy.
 */
import type { Logger } from "../../services/runtime/log.ts";
import type { Children } from "./children.ts";
import { UID_LABEL } from "../desired/identity.ts";
import { type AnyObject, keyOf } from "../kube/object.ts";

/** An Auction younger than the cache's last word must not be taken for gone. */
const AGE_MS = 10 * 60_000;

/** @param uids of all Auctions that there are */
export function orphansOf(
  objects: readonly AnyObject[],
  uids: ReadonlySet<string>,
  nowMs: number,
): AnyObject[] {
  return objects.filter(({ metadata }) => {
    const uid = metadata.labels?.[UID_LABEL];
    const ageMs = nowMs - Date.parse(metadata.creationTimestamp ?? new Date(nowMs).toISOString());
    return uid !== undefined && !uids.has(uid) && !metadata.deletionTimestamp && ageMs >= AGE_MS;
  });
}

export async function sweepOrphans(
  children: Children,
  uids: ReadonlySet<string>,
  log: Logger,
): Promise<void> {
  for (const object of orphansOf(children.all(), uids, Date.now())) {
    log.warn({ kind: object.kind, object: keyOf(object) }, "its Auction is gone: deleted");
    await children.remove(object);
  }
}
