/** The second step of a reconcile: decides what the finalizer does about an Auction that is being deleted. Pure. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { STORES } from "../api/components.ts";
import type { KubeObject } from "../desired/kube-object.ts";
import type { Scale } from "../desired/inputs.ts";
import { desired } from "../desired/desired.ts";
import { COMPONENT_LABEL } from "../desired/identity.ts";
import { type AnyObject, KINDS, type Ref, refOf } from "../kube/object.ts";
import type { Action, DataPlaneAction, Plan } from "./action.ts";
import { type DrainDecision, decideDrain, isTimedOut } from "./drain.ts";
import type { Observation } from "./observation.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { desiredInputsOf, desiredRules, observedFacts } from "./plan-inputs.ts";
import { statusOf } from "./status.ts";
import type { StatusFacts } from "./status-facts.ts";

const REQUEUE_MS = 1_000;
const TIMED_OUT_REQUEUE_MS = 15_000;

export function planDrain(observation: Observation, settings: OperatorSettings): Plan {
  const { auction, isNamespaceTerminating, probe } = observation;
  const startedAt = auction.status?.drain?.startedAt ?? auction.metadata.deletionTimestamp!;
  const startedAtMs = Date.parse(startedAt);
  const state = probe.misses === 0 ? probe.state : null;
  const facts = { ...observation, state, startedAtMs };
  const decision = decideDrain(facts);
  const timedOut = isTimedOut(facts);
  const { step, message } = decision;
  const rules = desiredRules(observation);
  const scale = scaleDuring(decision);
  const status: StatusFacts = {
    ...observedFacts(observation, settings, rules),
    scale,
    obstacle: null,
    held: {},
    annotations: { paused: false, dryRun: false },
    drain: { step, message, startedAtMs, timedOut },
  };
  const actions: Action[] = [{ type: "write-status" }];
  if (decision.action === "complete" || decision.action === "release") {
    actions.push(...endingActions(observation, decision));
    return { actions, status, requeueAfterMs: null };
  }
  if (!isNamespaceTerminating) {
    const inputs = desiredInputsOf(observation, settings, rules, scale);
    const objects = desired({ ...auction, status: statusOf(status) }, inputs);
    actions.push({
      type: "apply-for-drain",
      objects: neededObjects(observation, objects, decision),
    });
  }
  actions.push(...dataPlaneActions(auction, decision));
  return { actions, status, requeueAfterMs: timedOut ? TIMED_OUT_REQUEUE_MS : REQUEUE_MS };
}

function scaleDuring({ action, step }: DrainDecision): Scale {
  if (action === "stop-intake") return "no-intake";
  return step === "CloseBroadcast" || step === "Cleanup" ? "no-viewers" : "full";
}

/** What archival needs is created again if it is missing. A Deployment that ends is only scaled down. */
function neededObjects(
  { children }: Observation,
  objects: readonly KubeObject[],
  { step, action }: DrainDecision,
): KubeObject[] {
  const existing = new Set(children.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  const ending =
    action === "stop-intake"
      ? ["gateway", "broadcast"]
      : step === "CloseBroadcast"
        ? ["broadcast"]
        : [];
  return objects.filter((object) => {
    if (!object.metadata.ownerReferences) return true;
    if (object.kind !== "Deployment") return false;
    const component = object.metadata.labels[COMPONENT_LABEL]!;
    return ending.includes(component) && existing.has(`${object.kind}/${object.metadata.name}`);
  });
}

function dataPlaneActions({ spec }: StoredAuction, { action }: DrainDecision): DataPlaneAction[] {
  switch (action) {
    case "fence":
    case "verify":
      return [{ type: action }];
    case "clean":
      return [{ type: "clean", force: spec.deletion.policy === "Abandon" }];
    default:
      return [];
  }
}

function endingActions(observation: Observation, { action, message }: DrainDecision): Action[] {
  const isReleased = action === "release";
  const keepData = isReleased || observation.isNamespaceTerminating;
  const actions: Action[] = [
    { type: "remove", refs: refsToRemove(observation, keepData) },
    { type: "remove-finalizer" },
  ];
  if (isReleased) actions.push({ type: "report-release", message });
  return actions;
}

const SECRETS = ["rules", "access", "operator", "redis", "nats", "postgres"] as const;

/** @param keepData leaves the volumes and the passwords that they need: not all of it is archived */
function refsToRemove({ auction, children }: Observation, keepData: boolean): Ref[] {
  const { metadata, spec } = auction;
  const { name, namespace } = metadata;
  const isRetained = spec.deletion.dataPolicy === "Retain";
  const isKept = (component: string) => keepData || (component === "postgres" && isRetained);
  const secrets = SECRETS.filter((component) => !isKept(component)).map((component) => ({
    ...KINDS.Secret,
    namespace,
    name: `${name}-${component}`,
  }));
  // A StatefulSet names its claims <claim>-<statefulset>-<ordinal>.
  const volumes = STORES.filter(
    (store) => spec.backing[store].mode === "Managed" && !isKept(store),
  ).map((store) => ({
    ...KINDS.PersistentVolumeClaim,
    namespace,
    name: `data-${name}-${store}-0`,
  }));
  return [...children.map((child: AnyObject) => refOf(child)), ...secrets, ...volumes];
}
