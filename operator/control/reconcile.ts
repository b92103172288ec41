/** One look at one Auction: bring its objects to what is desired, tell its data plane, write its status. */
import { type Archival, ArchivalUnavailable } from "./archival-client.ts";
import { isRefused } from "./children.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Context } from "../desired/context.ts";
import { desired } from "../desired/desired.ts";
import { isUpTo } from "./drain.ts";
import { finalize } from "./finalize.ts";
import { holdTemplates } from "./rollout-hold.ts";
import { type AnyObject, refOf } from "../kube/object.ts";
import {
  baseOf,
  contextOf,
  definitionFor,
  FINALIZER,
  type Memory,
  memoryOf,
  type Operator,
  probe,
  writeStatus,
} from "./observe.ts";
import { isOver } from "./phase.ts";
import { lookAgainMs, scaleOf } from "./schedule.ts";
import type { Obstacle, Probe, Seen } from "./observation.ts";

const RECONCILE = "gavel.dev/reconcile";
const DRY_RUN = "gavel.dev/dry-run";

const VERIFY_AGAIN_MS = 30_000;

/** @returns when to look again; nothing where the Auction is gone */
export async function reconcile(
  operator: Operator,
  key: string,
): Promise<{ requeueAfterMs?: number }> {
  const auction = operator.auction(key);
  if (auction === undefined) return {};
  const { uid, deletionTimestamp, finalizers = [], annotations = {} } = auction.metadata;
  const memory = memoryOf(operator, uid);
  if (deletionTimestamp !== undefined) return finalize(operator, auction, memory);
  if (!finalizers.includes(FINALIZER)) {
    await addFinalizer(operator, auction);
    return {}; // The change comes back as an event; nothing is made before the server has it.
  }
  const paused = annotations[RECONCILE] === "paused";
  const dryRun = annotations[DRY_RUN] === "true";
  const secrets = await operator.secrets.read(auction);
  const { definition, rulesHash } = definitionFor(auction, secrets);
  const previous = auction.status ?? {};
  const scale = scaleOf(auction.spec, previous, Date.now());
  const context = await contextOf(operator, secrets, definition, scale);
  const { obstacle, held, failure } = paused
    ? { obstacle: secrets.obstacle, held: {}, failure: null }
    : await bringUp(operator, auction, context, secrets.obstacle, dryRun);

  const archival = operator.archivalOf(auction, secrets.credentials.operatorToken);
  memory.probe = await probe(archival, memory.probe);
  if (!paused && !dryRun) {
    await tellDataPlane(operator, auction, memory, archival, definition, rulesHash);
  }
  const seen: Seen = {
    ...baseOf(operator, auction, memory, rulesHash),
    scale,
    obstacle,
    secretHashes: secrets.hashes,
    held,
    annotations: { paused, dryRun },
    drain: null,
  };
  const status = await writeStatus(operator, seen, memory);
  if (failure !== null) throw failure;
  return { requeueAfterMs: lookAgainMs(auction.spec, status, Date.now()) };
}

async function addFinalizer({ cluster }: Operator, auction: StoredAuction): Promise<void> {
  const { finalizers, resourceVersion } = auction.metadata;
  await cluster.jsonPatch(refOf(auction as unknown as AnyObject), [
    { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
    finalizers === undefined
      ? { op: "add", path: "/metadata/finalizers", value: [FINALIZER] }
      : { op: "add", path: "/metadata/finalizers/-", value: FINALIZER },
  ]);
}

/**
 * What the server refuses is said in the status, and tried again with every look. `failure` is what else went
 * wrong: it must not keep the status from being written.
 */
async function bringUp(
  { children, log }: Operator,
  auction: StoredAuction,
  context: Context,
  obstacle: Obstacle | null,
  dryRun: boolean,
): Promise<{ obstacle: Obstacle | null; held: Seen["held"]; failure: unknown }> {
  const { uid } = auction.metadata;
  if (obstacle !== null && children.workloads(uid).archival === undefined) {
    return { obstacle, held: {}, failure: null }; // Nothing is begun that could not be ended.
  }
  const { phase = "Pending" } = auction.status ?? {};
  const isLive = phase === "Open" || phase === "Closing";
  const isHolding = isLive && auction.spec.tiers.updatePolicy === "WhenIdle";
  const all = desired(auction, context);
  const { objects, held } = holdTemplates(all, children.of(uid), isHolding);
  try {
    await children.apply(uid, objects, dryRun);
    if (!dryRun) await children.prune(uid, objects);
    return { obstacle, held, failure: null };
  } catch (error) {
    if (!isRefused(error)) return { obstacle, held, failure: error };
    log.warn({ err: error, auction: auction.metadata.name }, "the API server refused an object");
    const message = (error as Error).message;
    return { obstacle: obstacle ?? { reason: "ApplyRefused", message }, held, failure: null };
  }
}

/** Rules as they change, the opening where it has no time, and the end: fence, then the proof. */
async function tellDataPlane(
  operator: Operator,
  auction: StoredAuction,
  memory: Memory,
  archival: Archival,
  definition: Context["definition"],
  rulesHash: string | null,
): Promise<void> {
  const { state, misses } = memory.probe;
  if (state === null || misses > 0) return;
  try {
    if (memory.refused?.hash !== rulesHash) memory.refused = null;
    const isOld = state.rulesHash !== null && state.rulesHash !== rulesHash;
    if (definition && rulesHash && isOld && memory.refused === null && state.fencedId === null) {
      const answer = await archival.publishRules(definition);
      if (answer.outcome === "refused") memory.refused = { hash: rulesHash, why: answer.why };
      else memory.probe = { ...memory.probe, state: { ...state, rulesHash } };
    }
    if (isDueToOpen(operator, auction, memory.probe, rulesHash)) await archival.open();
    if (state.rulesHash !== null && isOver(state) && state.fencedId === null)
      await archival.fence();
    if (state.fencedId === null || state.verified?.ok || state.cleaned) return;
    const isTime = Date.now() - memory.verifyTriedAtMs >= VERIFY_AGAIN_MS;
    if (isUpTo(state.archivedId, state.fencedId) && isTime) {
      memory.verifyTriedAtMs = Date.now();
      await archival.verify();
    }
  } catch (error) {
    if (!(error instanceof ArchivalUnavailable)) throw error;
    operator.log.info({ auction: auction.metadata.name, why: error.message }, "asked again later");
  }
}

/** An auction without an opening time opens once everything that takes and shows bids is there. */
function isDueToOpen(
  { children }: Operator,
  { spec, metadata }: StoredAuction,
  { state }: Probe,
  rulesHash: string | null,
): boolean {
  if (spec.schedule.opensAt !== undefined || state === null || state.opensAtMs !== null)
    return false;
  if (state.rulesHash === null || state.rulesHash !== rulesHash || spec.suspended) return false;
  const workloads = children.workloads(metadata.uid);
  return (["gateway", "broadcast", "archival"] as const).every((tier) => {
    const workload = workloads[tier];
    return workload !== undefined && workload.ready > 0 && workload.ready >= workload.desired;
  });
}
