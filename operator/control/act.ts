/** The third step of a reconcile: carries out a plan, action by action. */
import type { Logger } from "../../services/runtime/log.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { AuctionStatus } from "../api/auction-status.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { isApiError } from "../kube/api-error.ts";
import type { Cluster } from "../kube/client.ts";
import type { EventRecorder } from "../kube/event-recorder.ts";
import type { AnyObject } from "../kube/object.ts";
import type { OperatorMetrics } from "../metrics.ts";
import type { Action, DataPlaneAction, Plan } from "./action.ts";
import { type Archival, ArchivalUnavailable } from "./archival-client.ts";
import type { SecretReader } from "./auction-secrets.ts";
import type { Children } from "./children.ts";
import { removeFinalizer } from "./finalizer.ts";
import type { Memory, Observation, Obstacle } from "./observation.ts";
import { shouldWrite, statusOf } from "./status.ts";
import { statusEvents } from "./status-events.ts";
import type { StatusFacts } from "./status-facts.ts";

const STATUS_MANAGER = "gavel-operator-status";

export interface ActDependencies {
  readonly cluster: Cluster;
  readonly children: Children;
  readonly secrets: Pick<SecretReader, "forget">;
  readonly events: Pick<EventRecorder, "record">;
  readonly metrics: Pick<OperatorMetrics, "auctionDrainSeconds">;
  readonly log: Logger;
  archivalFor(auction: StoredAuction, token: string): Archival;
}

/** What the actions brought so far. */
interface Outcome {
  /** What the next reconcile is given. */
  readonly memory: Memory;
  /** As computed by `write-status`, written or not. */
  readonly status: AuctionStatus;
  /** Why the API server refused an object. */
  readonly refusal: Obstacle | null;
  readonly isArchivalUnavailable: boolean;
  readonly isFinalizerRemoved: boolean;
  /** What the caller throws after it has stored the memory. */
  readonly failure: unknown;
}

/** Never throws: what fails is the outcome's `failure`. */
export async function act(
  dependencies: ActDependencies,
  observation: Observation,
  plan: Plan,
): Promise<Outcome> {
  let outcome: Outcome = {
    memory: { ...observation.memory, probe: observation.probe },
    status: observation.auction.status ?? {},
    refusal: null,
    isArchivalUnavailable: false,
    isFinalizerRemoved: false,
    failure: null,
  };
  for (const action of plan.actions) {
    try {
      outcome = await perform(dependencies, observation, plan, action, outcome);
    } catch (failure) {
      return { ...outcome, failure };
    }
  }
  return outcome;
}

async function perform(
  dependencies: ActDependencies,
  observation: Observation,
  plan: Plan,
  action: Action,
  outcome: Outcome,
): Promise<Outcome> {
  const { cluster, children } = dependencies;
  const { auction } = observation;
  const { uid } = auction.metadata;
  switch (action.type) {
    case "apply":
      return apply(dependencies, auction, action, outcome);
    case "apply-for-drain":
      await children.apply(uid, action.objects).catch((error: unknown) => {
        if (!isApiError(error, "forbidden", "not_found", "invalid")) throw error;
      });
      return outcome;
    case "write-status":
      return writeStatus(dependencies, plan, outcome);
    case "remove":
      for (const ref of action.refs) await cluster.remove(ref);
      return outcome;
    case "remove-finalizer":
      await removeFinalizer(cluster, auction);
      children.forget(uid);
      dependencies.secrets.forget(uid);
      observeDrainTime(dependencies, plan);
      return { ...outcome, isFinalizerRemoved: true };
    case "report-release":
      reportRelease(dependencies, auction, action.message);
      return outcome;
    default:
      return callDataPlane(dependencies, observation, action, outcome);
  }
}

async function apply(
  { children, log }: ActDependencies,
  { metadata }: StoredAuction,
  { objects, dryRun }: Extract<Action, { type: "apply" }>,
  outcome: Outcome,
): Promise<Outcome> {
  try {
    await children.apply(metadata.uid, objects, dryRun);
    if (!dryRun) await children.prune(metadata.uid, objects);
    return outcome;
  } catch (error) {
    if (!isApiError(error, "invalid", "forbidden")) return { ...outcome, failure: error };
    log.warn({ err: error, auction: metadata.name }, "object refused by the API server");
    return { ...outcome, refusal: { reason: "ApplyRefused", message: error.message } };
  }
}

async function callDataPlane(
  dependencies: ActDependencies,
  observation: Observation,
  action: DataPlaneAction,
  outcome: Outcome,
): Promise<Outcome> {
  const { archivalFor, log } = dependencies;
  if (outcome.isArchivalUnavailable) return outcome;
  const { auction, secrets, nowMs } = observation;
  const archival = archivalFor(auction, secrets.credentials.operatorToken);
  const { memory } = outcome;
  // Remembered before the call: one without an answer counts as a try.
  const tried = action.type === "verify" ? { ...memory, verifyTriedAtMs: nowMs } : memory;
  try {
    const next = { ...outcome, memory: await call(archival, action, tried) };
    const isOpenDue = action.type === "publish-rules" && action.thenOpen;
    const isRefused = isOpenDue && next.memory.rulesRefusal?.hash === action.rulesHash;
    if (!isOpenDue || isRefused) return next;
    return await callDataPlane(dependencies, observation, { type: "open" }, next);
  } catch (error) {
    if (!(error instanceof ArchivalUnavailable)) throw error;
    const fields = { auction: auction.metadata.name, action: action.type, reason: error.message };
    log.info(fields, "call to archival failed, retried with the next reconcile");
    return { ...outcome, memory: tried, isArchivalUnavailable: true };
  }
}

/** @throws ArchivalUnavailable if there is no answer */
async function call(archival: Archival, action: DataPlaneAction, memory: Memory): Promise<Memory> {
  switch (action.type) {
    case "publish-rules":
      return publishRules(archival, action, memory);
    case "open":
      await archival.open();
      return memory;
    case "fence":
      await archival.fence();
      return memory;
    case "verify":
      await archival.verify();
      return memory;
    case "clean":
      await archival.clean(action.force);
      return memory;
  }
}

/** The probe gets the new hash at once: the status shows the rules as published without another reconcile. */
async function publishRules(
  archival: Archival,
  { definition, rulesHash }: Extract<DataPlaneAction, { type: "publish-rules" }>,
  memory: Memory,
): Promise<Memory> {
  const answer = await archival.publishRules(definition);
  if (answer.outcome === "refused") {
    return { ...memory, rulesRefusal: { hash: rulesHash, why: answer.why } };
  }
  const { probe } = memory;
  return {
    ...memory,
    rulesRefusal: null,
    probe: { ...probe, state: probe.state && { ...probe.state, rulesHash } },
  };
}

async function writeStatus(
  { cluster, events }: ActDependencies,
  { status: facts }: Plan,
  outcome: Outcome,
): Promise<Outcome> {
  const { auction, previous, nowMs } = facts;
  const { memory } = outcome;
  const status = statusOf(factsAfter(facts, outcome));
  if (!shouldWrite(previous, status, memory.statusWrittenAtMs, nowMs)) {
    return { ...outcome, status };
  }
  const { name, namespace, uid } = auction.metadata;
  const { apiVersion, kind } = AUCTION_KIND;
  const body: AnyObject = { apiVersion, kind, metadata: { name, namespace, uid }, status };
  const written = await cluster.applyStatus(body, STATUS_MANAGER);
  if (written === null) return { ...outcome, status };
  for (const event of statusEvents(previous, status)) {
    events.record(auction as unknown as AnyObject, event);
  }
  return { ...outcome, status, memory: { ...memory, statusWrittenAtMs: nowMs } };
}

function factsAfter(facts: StatusFacts, { memory, refusal }: Outcome): StatusFacts {
  const { probe, rulesRefusal } = memory;
  return {
    ...facts,
    probe,
    obstacle: facts.obstacle ?? refusal,
    rulesRefusalReason: rulesRefusal?.hash === facts.rulesHash ? rulesRefusal.why : null,
  };
}

function observeDrainTime({ metrics }: ActDependencies, { status }: Plan): void {
  if (status.drain === null) return;
  metrics.auctionDrainSeconds.observe((Date.now() - status.drain.startedAtMs) / 1_000);
}

function reportRelease(
  { events, log }: ActDependencies,
  auction: StoredAuction,
  message: string,
): void {
  const { archivedId = "nothing", fencedId = "an unfenced outbox" } = auction.status?.archive ?? {};
  const note = `${message}. Archived up to ${archivedId} of ${fencedId}; volumes and stream are left`;
  log.warn(
    { auction: auction.metadata.name, note },
    "Auction released without proof of its archive",
  );
  const event = { type: "Warning", reason: "DrainReleased", action: "Release", note } as const;
  events.record(auction as unknown as AnyObject, event);
}
