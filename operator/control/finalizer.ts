/** The finalizer: it keeps an Auction until its drain has ended. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { isApiError } from "../kube/api-error.ts";
import type { Cluster } from "../kube/client.ts";
import { type AnyObject, refOf } from "../kube/object.ts";

export const FINALIZER = "gavel.dev/drain";

const REMOVE_ATTEMPTS = 5;

export function hasFinalizer({ metadata }: StoredAuction): boolean {
  return metadata.finalizers?.includes(FINALIZER) ?? false;
}

export async function addFinalizer(
  cluster: Pick<Cluster, "jsonPatch">,
  auction: StoredAuction,
): Promise<void> {
  const { finalizers, resourceVersion } = auction.metadata;
  await cluster.jsonPatch(refOf(auction as unknown as AnyObject), [
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    finalizers === undefined
      ? { op: "add", path: "/metadata/finalizers", value: [FINALIZER] }
      : { op: "add", path: "/metadata/finalizers/-", value: FINALIZER },
  ]);
}

/** Retries a conflict at once: it must not wait for the queue's backoff. */
export async function removeFinalizer(
  cluster: Pick<Cluster, "get" | "jsonPatch">,
  auction: StoredAuction,
): Promise<void> {
  const ref = refOf(auction as unknown as AnyObject);
  for (let attempt = 1; ; attempt++) {
    const current = await cluster.get<AnyObject>(ref);
    if (current === null || current.metadata.uid !== auction.metadata.uid) return;
    const index = (current.metadata.finalizers ?? []).indexOf(FINALIZER);
    if (index === -1) return;
    const path = `/metadata/finalizers/${index}`;
    try {
      await cluster.jsonPatch(ref, [
        { op: "test", path, value: FINALIZER },
        { op: "remove", path },
      ]);
      return;
    } catch (error) {
      if (!isApiError(error, "conflict") || attempt === REMOVE_ATTEMPTS) throw error;
    }
  }
}
