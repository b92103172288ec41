/** The first step of a reconcile: reads everything that a plan needs. It decides nothing. */
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Cluster } from "../kube/client.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { type Archival, ArchivalUnavailable } from "./archival-client.ts";
import type { SecretReader } from "./auction-secrets.ts";
import type { Children } from "./children.ts";
import type { Observation, Probe, Memory } from "./observation.ts";
import { workloadsOf } from "./workload.ts";

export interface ObserveDependencies {
  readonly cluster: Pick<Cluster, "get" | "serves">;
  readonly children: Pick<Children, "of">;
  readonly secrets: Pick<SecretReader, "read">;
  archivalFor(auction: StoredAuction, token: string): Archival;
}

/** @throws ApiError if the API server does not answer */
export async function observe(
  { cluster, children, secrets, archivalFor }: ObserveDependencies,
  auction: StoredAuction,
  memory: Memory,
): Promise<Observation> {
  const { uid, namespace, deletionTimestamp } = auction.metadata;
  const auctionSecrets = await secrets.read(auction);
  const archival = archivalFor(auction, auctionSecrets.credentials.operatorToken);
  const [probed, podMonitor, httpRoute, isNamespaceTerminating] = await Promise.all([
    probe(archival, memory.probe),
    cluster.serves(KINDS.PodMonitor.apiVersion, KINDS.PodMonitor.kind),
    cluster.serves(KINDS.HTTPRoute.apiVersion, KINDS.HTTPRoute.kind),
    deletionTimestamp === undefined ? false : isTerminating(cluster, namespace),
  ]);
  // The caches are read last, when they are newest.
  const objects = children.of(uid);
  return {
    auction,
    nowMs: Date.now(),
    secrets: auctionSecrets,
    serves: { podMonitor, httpRoute },
    children: objects,
    workloads: workloadsOf(objects),
    probe: probed,
    isNamespaceTerminating,
    memory,
  };
}

async function probe(archival: Archival, before: Probe): Promise<Probe> {
  try {
    return { state: await archival.state(), misses: 0, why: "" };
  } catch (error) {
    if (!(error instanceof ArchivalUnavailable)) throw error;
    return { state: before.state, misses: before.misses + 1, why: error.message };
  }
}

async function isTerminating(cluster: Pick<Cluster, "get">, name: string): Promise<boolean> {
  const namespace = await cluster.get<AnyObject>({ ...KINDS.Namespace, name });
  return namespace === null || namespace.metadata.deletionTimestamp !== undefined;
}
