/** Evidence that a fault took effect and ended: status of Chaos Mesh, uids, restart counts. */
import { type ChaosObject, NAMESPACE, statusChecksOf, templatesOf } from "./scenario.ts";
import type { Pod, Target } from "./target.ts";
import { Stopped, waitFor } from "./wait-for.ts";

export const INJECTED_WITHIN_MS = 30_000;
const WELL_WITHIN_MS = 180_000;
const WORKFLOW_LABEL = "chaos-mesh.org/workflow";
/** The steps of a Workflow run one after the other. */
const WORKFLOW_WITHIN_MS = 120_000;

/** A StatusCheck of a Workflow. */
export interface Check {
  readonly name: string;
  readonly passed: boolean;
  readonly why: string;
}

interface PodChaosStatus {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly action?: string };
  readonly status?: {
    readonly conditions?: readonly { type: string; status: string }[];
    readonly experiment?: {
      readonly containerRecords?: readonly { id: string; injectedCount: number }[];
    };
  };
}

interface Claim {
  readonly metadata: { readonly uid: string };
}

/** API path of a kind. The plural of a kind that ends in Chaos is the kind itself. */
export function collectionOf({ kind }: Pick<ChaosObject, "kind">): string {
  const plural = kind.endsWith("Chaos") ? kind.toLowerCase() : `${kind.toLowerCase()}s`;
  return `/apis/chaos-mesh.org/v1alpha1/namespaces/${NAMESPACE}/${plural}`;
}

/** The experiments that an object is or creates. */
async function experimentsOf(target: Target, object: ChaosObject): Promise<PodChaosStatus[]> {
  const { name } = object.metadata;
  if (object.kind !== "Workflow" && object.kind !== "Schedule") {
    return [await target.json<PodChaosStatus>(`${collectionOf(object)}/${name}`)];
  }
  const { items } = await target.json<{ items: PodChaosStatus[] }>(
    collectionOf({ kind: "PodChaos" }),
  );
  const label = object.kind === "Workflow" ? WORKFLOW_LABEL : "managed-by";
  return items.filter(({ metadata }) => metadata.labels?.[label] === name);
}

/** How many experiments an object creates. */
const expectedOf = (object: ChaosObject): number =>
  object.kind === "Workflow"
    ? templatesOf(object).filter(({ templateType }) => templateType.endsWith("Chaos")).length
    : 1;

export async function provenInjected(
  target: Target,
  object: ChaosObject,
  before: readonly Pod[],
): Promise<{ evidence: string[]; pods: Pod[] }> {
  const isOne = object.kind !== "Workflow";
  const all = new Map<string, PodChaosStatus>();
  await waitFor(
    `${object.kind} ${object.metadata.name} is injected`,
    async () => {
      for (const experiment of await experimentsOf(target, object)) {
        const { conditions = [], experiment: state } = experiment.status ?? {};
        const isIn = conditions.some((c) => c.type === "AllInjected" && c.status === "True");
        const counted = state?.containerRecords?.some(({ injectedCount }) => injectedCount >= 1);
        if (isIn && counted) all.set(experiment.metadata.name, experiment);
      }
      return all.size >= expectedOf(object);
    },
    isOne ? INJECTED_WITHIN_MS : WORKFLOW_WITHIN_MS,
  );
  const hit = (id: string) =>
    before.find(({ namespace, name }) => id.startsWith(`${namespace}/${name}`));
  const evidence: string[] = [];
  const pods: Pod[] = [];
  for (const { metadata, spec, status } of all.values()) {
    const ids = (status?.experiment?.containerRecords ?? []).map(({ id }) => id);
    evidence.push(
      `${metadata.name}: AllInjected=True, ${spec.action ?? object.kind} of ${ids.join(", ")}`,
    );
    if (spec.action !== "pod-kill") continue;
    for (const pod of ids.map(hit)) if (pod) pods.push(pod);
  }
  return { evidence, pods };
}

/**
 * Ends a Schedule, which would repeat forever.
 * @returns evidence of its experiments
 * @throws Error when it injected fewer than its schedule says
 */
export async function endSchedule(
  target: Target,
  object: ChaosObject,
  seconds: number,
): Promise<string> {
  const { name } = object.metadata;
  const experiments = await experimentsOf(target, object);
  const injected = experiments.filter(({ status }) =>
    status?.experiment?.containerRecords?.some(({ injectedCount }) => injectedCount >= 1),
  );
  await target.kubectl(["delete", "schedule.chaos-mesh.org", name, "-n", NAMESPACE]);
  const every = Number(/^@every (\d+)s$/.exec(String(object.spec["schedule"]))?.[1] ?? seconds);
  if (injected.length < Math.floor(seconds / every) - 1) {
    throw new Error(`${name}: only ${injected.length} experiments injected in ${seconds} s`);
  }
  return `${name}: ${injected.length} experiments injected by its end`;
}

export async function provenRecovered(target: Target, object: ChaosObject): Promise<void> {
  await waitFor(
    `${object.metadata.name} is recovered`,
    async () => {
      const experiments = await experimentsOf(target, object);
      return experiments.every(({ status }) =>
        status?.conditions?.some((c) => c.type === "AllRecovered" && c.status === "True"),
      );
    },
    WORKFLOW_WITHIN_MS,
  );
}

export const claimOf = (target: Target, name: string): Promise<Claim> =>
  target.json<Claim>(`/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims/${name}`);

export async function provenNew(target: Target, { name, uid }: { name: string; uid: string }) {
  const { metadata } = await claimOf(target, name);
  if (metadata.uid === uid) throw new Error(`the claim ${name} was not deleted`);
  return `the claim ${name} (${uid}) was replaced by ${metadata.uid}`;
}

export async function provenRestarted(target: Target, before: readonly Pod[]): Promise<string[]> {
  const now = await target.pods();
  return before.map(({ name, uid, restarts }) => {
    const pod = now.find((one) => one.uid === uid);
    if (pod === undefined || pod.restarts <= restarts) {
      throw new Error(`no container of ${name} restarted`);
    }
    return `${name}: ${pod.restarts - restarts} restarts of its container`;
  });
}

interface WorkflowNode {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec: { readonly type: string };
  readonly status?: {
    readonly conditions?: readonly { type: string; status: string; reason?: string }[];
  };
}

/** Waits until each StatusCheck has ended. Chaos Mesh then deletes it; the node of the Workflow keeps the result. */
export async function checksOf(target: Target, applied: readonly ChaosObject[]): Promise<Check[]> {
  const wanted = applied.flatMap((object) => statusChecksOf(object));
  if (wanted.length === 0) return [];
  const conditionsOf = ({ status }: WorkflowNode) => {
    const held = (status?.conditions ?? []).filter((one) => one.status === "True");
    return (type: string) => held.some((one) => one.type === type);
  };
  const ENDS = ["Accomplished", "Aborted", "DeadlineExceed"];
  const ended = await waitFor(
    "the StatusChecks of Chaos Mesh have ended",
    async () => {
      const { items } = await target.json<{ items: WorkflowNode[] }>(
        collectionOf({ kind: "WorkflowNode" }),
      );
      const own = items.filter(
        ({ metadata, spec }) =>
          spec.type === "StatusCheck" &&
          applied.some((object) => object.metadata.name === metadata.labels?.[WORKFLOW_LABEL]),
      );
      const done = own.filter((node) => ENDS.some(conditionsOf(node)));
      return done.length >= wanted.length && done;
    },
    WELL_WITHIN_MS,
  ).catch((error: Error): WorkflowNode[] => {
    if (error instanceof Stopped) throw error;
    return [];
  });
  if (ended.length === 0) return [{ name: "status check", passed: false, why: "did not end" }];
  return ended.map((node) => {
    const conditions = ENDS.filter(conditionsOf(node));
    const { name } = node.metadata;
    return { name, passed: String(conditions) === "Accomplished", why: conditions.join(", ") };
  });
}
