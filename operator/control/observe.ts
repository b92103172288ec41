/** What one look at an Auction works with, and what both ways of it (reconcile, finalize) do alike. */
import { rulesHashOf } from "../../services/store/define-lots.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { type Archival, ArchivalUnavailable } from "./archival-client.ts";
import type { AuctionSecrets, SecretReader } from "./auction-secrets.ts";
import type { AuctionStatus } from "../api/auction-status.ts";
import type { Children } from "./children.ts";
import type { Cluster } from "../kube/client.ts";
import { definitionOf } from "../api/definition.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Context, Scale } from "../desired/context.ts";
import { endpointsOf } from "../desired/desired.ts";
import { eventsOf } from "./status-events.ts";
import type { EventRecorder } from "../kube/event-recorder.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import type { OperatorMetrics } from "../metrics.ts";
import type { Probe, Seen } from "./observation.ts";
import { isWorthWriting, statusOf } from "./status.ts";

export const FINALIZER = "gavel.dev/drain";
const STATUS_MANAGER = "gavel-operator-status";

/** The same for all Auctions. */
export type Settings = Omit<
  Context,
  "credentials" | "definition" | "external" | "scale" | "serves"
>;

export interface Operator {
  readonly cluster: Cluster;
  readonly settings: Settings;
  readonly version: string;
  readonly children: Children;
  readonly secrets: SecretReader;
  readonly events: EventRecorder;
  readonly metrics: OperatorMetrics;
  readonly log: Logger;
  /** What is remembered of each Auction between two looks, by uid. */
  readonly memories: Map<string, Memory>;
  auction(key: string): StoredAuction | undefined;
  archivalOf(auction: StoredAuction, token: string): Archival;
}

export interface Memory {
  probe: Probe;
  /** The rules that the store refused, and why: not asked again until they change. */
  refused: { readonly hash: string; readonly why: string } | null;
  statusWrittenAtMs: number;
  verifyTriedAtMs: number;
}

const FRESH: Memory = {
  probe: { state: null, misses: 0, why: "not asked yet" },
  refused: null,
  statusWrittenAtMs: 0,
  verifyTriedAtMs: 0,
};

/** @returns what is remembered of an Auction, from now on at the latest */
export function memoryOf({ memories }: Operator, uid: string): Memory {
  const memory = memories.get(uid) ?? { ...FRESH };
  memories.set(uid, memory);
  return memory;
}

/** The rules that its spec asks for, and their hash; null while a Secret that they need is missing. */
export function definitionFor(auction: StoredAuction, { reserves, obstacle }: AuctionSecrets) {
  if (obstacle !== null) return { definition: null, rulesHash: null };
  const { metadata } = auction;
  const resource = { ...auction, metadata: { name: metadata.name } };
  const definition = definitionOf(resource, metadata.uid, reserves);
  return { definition, rulesHash: rulesHashOf(definition) };
}

export async function contextOf(
  { cluster, settings }: Operator,
  { credentials, external }: AuctionSecrets,
  definition: Context["definition"],
  scale: Scale,
): Promise<Context> {
  const [podMonitor, httpRoute] = await Promise.all([
    cluster.serves(KINDS.PodMonitor.apiVersion, KINDS.PodMonitor.kind),
    cluster.serves(KINDS.HTTPRoute.apiVersion, KINDS.HTTPRoute.kind),
  ]);
  return {
    ...settings,
    credentials,
    external,
    definition,
    scale,
    serves: { podMonitor, httpRoute },
  };
}

export async function probe(archival: Archival, before: Probe): Promise<Probe> {
  try {
    return { state: await archival.state(), misses: 0, why: "" };
  } catch (error) {
    if (!(error instanceof ArchivalUnavailable)) throw error;
    return { state: before.state, misses: before.misses + 1, why: error.message };
  }
}

export function baseOf(
  { children, version }: Operator,
  auction: StoredAuction,
  { probe, refused }: Memory,
  rulesHash: string | null,
) {
  return {
    auction,
    previous: auction.status ?? {},
    nowMs: Date.now(),
    operatorVersion: version,
    workloads: children.workloads(auction.metadata.uid),
    probe,
    rulesHash,
    rulesRefused: refused?.why ?? null,
    endpoints: endpointsOf(auction),
  };
}

/** @returns the status as it should be, written or not */
export async function writeStatus(
  { cluster, events }: Operator,
  seen: Seen,
  memory: Memory,
): Promise<AuctionStatus> {
  const { auction, previous, nowMs } = seen;
  const status = statusOf(seen);
  if (!isWorthWriting(previous, status, memory.statusWrittenAtMs, nowMs)) return status;
  const { name, namespace, uid } = auction.metadata;
  const { apiVersion, kind } = AUCTION_KIND;
  const body: AnyObject = { apiVersion, kind, metadata: { name, namespace, uid }, status };
  const written = await cluster.applyStatus(body, STATUS_MANAGER);
  if (written === null) return status;
  memory.statusWrittenAtMs = nowMs;
  for (const event of eventsOf(previous, status)) {
    events.record(auction as unknown as AnyObject, event);
  }
  return status;
}
