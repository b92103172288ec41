/** The second step of a reconcile: decides what is done about an Auction that is not being deleted. Pure. */
import { TIERS } from "../api/components.ts";
import type { DesiredInputs } from "../desired/inputs.ts";
import { desired } from "../desired/desired.ts";
import type { Action, DataPlaneAction, Plan } from "./action.ts";
import { hasReached } from "./drain.ts";
import type { Observation } from "./observation.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { isOver } from "./phase.ts";
import { desiredInputsOf, type DesiredRules, desiredRules, observedFacts } from "./plan-inputs.ts";
import { type HeldTemplates, holdTemplates } from "./rollout-hold.ts";
import { scaleOf } from "./scale.ts";

/** `paused`: nothing is changed but the status. */
const RECONCILE_ANNOTATION = "gavel.dev/reconcile";
/** `true`: objects are applied as a dry run. */
const DRY_RUN_ANNOTATION = "gavel.dev/dry-run";

/** The least time between two completeness proofs. */
export const VERIFY_EVERY_MS = 30_000;

export function planReconcile(observation: Observation, settings: OperatorSettings): Plan {
  const { auction, nowMs, secrets } = observation;
  const { annotations = {} } = auction.metadata;
  const paused = annotations[RECONCILE_ANNOTATION] === "paused";
  const dryRun = annotations[DRY_RUN_ANNOTATION] === "true";
  const rules = desiredRules(observation);
  const scale = scaleOf(auction.spec, auction.status ?? {}, nowMs);
  const templates = paused
    ? null
    : objectsToApply(observation, desiredInputsOf(observation, settings, rules, scale));
  const actions: Action[] = [];
  if (templates !== null) actions.push({ type: "apply", objects: templates.objects, dryRun });
  if (!paused && !dryRun) actions.push(...dataPlaneActions(observation, rules));
  actions.push({ type: "write-status" });
  const status = {
    ...observedFacts(observation, settings, rules),
    scale,
    obstacle: secrets.obstacle,
    held: templates?.held ?? {},
    annotations: { paused, dryRun },
    drain: null,
  };
  return { actions, status, requeueAfterMs: null };
}

/** Null if a Secret is missing and archival does not exist: without archival, no drain could delete what an apply creates. */
function objectsToApply(observation: Observation, inputs: DesiredInputs): HeldTemplates | null {
  const { auction, secrets, workloads, children } = observation;
  if (secrets.obstacle !== null && workloads.archival === undefined) return null;
  const { phase = "Pending" } = auction.status ?? {};
  const isUnderWay = phase === "Open" || phase === "Closing";
  const isHolding = isUnderWay && auction.spec.tiers.updatePolicy === "WhenIdle";
  return holdTemplates(desired(auction, inputs), children, isHolding);
}

/** Rules when they changed, the opening if it has no time, the fence when all lots are over, then the proof. */
function dataPlaneActions(observation: Observation, rules: DesiredRules): DataPlaneAction[] {
  const { probe, nowMs, memory } = observation;
  const { state, misses } = probe;
  if (state === null || misses > 0) return [];
  const actions: DataPlaneAction[] = [];
  const isOpenDue = isDueToOpen(observation);
  if (mustPublish(observation, rules)) {
    const { definition, rulesHash } = rules;
    actions.push({ type: "publish-rules", definition, rulesHash, thenOpen: isOpenDue });
  } else if (isOpenDue && state.rulesHash !== null && state.rulesHash === rules.rulesHash) {
    actions.push({ type: "open" });
  }
  if (state.rulesHash !== null && isOver(state) && state.fencedId === null) {
    actions.push({ type: "fence" });
  }
  const isArchived = state.fencedId !== null && hasReached(state.archivedId, state.fencedId);
  const isProven = state.verified?.ok === true || state.cleaned;
  if (isArchived && !isProven && nowMs - memory.verifyTriedAtMs >= VERIFY_EVERY_MS) {
    actions.push({ type: "verify" });
  }
  return actions;
}

/** Whether the store has other rules than the spec, and may take these. */
function mustPublish(
  { probe, memory }: Observation,
  rules: DesiredRules,
): rules is Extract<DesiredRules, { rulesHash: string }> {
  const { state } = probe;
  if (state === null || state.rulesHash === null || rules.rulesHash === null) return false;
  const isRefused = memory.rulesRefusal?.hash === rules.rulesHash;
  return state.rulesHash !== rules.rulesHash && !isRefused && state.fencedId === null;
}

/** An auction without an opening time opens once all tiers are ready, and the store has its rules. */
function isDueToOpen({ auction, probe, workloads }: Observation): boolean {
  const { schedule, suspended } = auction.spec;
  if (schedule.opensAt !== undefined || suspended || probe.state?.opensAtMs !== null) return false;
  return TIERS.every((tier) => {
    const workload = workloads[tier];
    return workload !== undefined && workload.ready > 0 && workload.ready >= workload.desired;
  });
}
