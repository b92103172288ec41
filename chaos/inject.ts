/** Does a scenario's steps once, and proves that they happened: a fault that was not there proves nothing. */
import type { ChildProcess } from "node:child_process";
import {
  type ChaosObject,
  type Component,
  componentOf,
  NAMESPACE,
  type Scenario,
  type Selector,
  type Step,
  AUCTION,
} from "./scenario.ts";
import { killProcesses } from "./surroundings.ts";
import type { Pod, Target } from "./target.ts";
import { passTime, waitFor } from "./wait-for.ts";

const INJECTED_WITHIN_MS = 30_000;
/** A Workflow's parts come one after the other. */
const WORKFLOW_WITHIN_MS = 120_000;

/** What a process writes when it ends in good order; after SIGKILL none of it may be there. */
const CLEAN_SHUTDOWN: Readonly<Record<Component, RegExp>> = {
  redis: /Redis is now ready to exit|User requested shutdown/,
  nats: /Server Exiting|Initiating Shutdown/,
  postgres: /database system is shut down|received (fast|smart) shutdown request/,
  gateway: /"msg":"stopp(ed|ing)"/,
  broadcast: /"msg":"stopp(ed|ing)"/,
  archival: /"msg":"stopp(ed|ing)"/,
  operator: /"msg":"stopp(ed|ing)"/,
};

export interface Injected {
  /** When it began, by this machine's clock. */
  readonly atMs: number;
  /** When what was injected was over: for kills the same moment. */
  readonly endedMs: number;
  /** What proves that it happened, for people. */
  readonly seen: readonly string[];
  /** Pods that cannot be the same afterwards. */
  readonly gone: readonly Pod[];
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

interface Hit {
  readonly pod: Pod;
  readonly log: { text: string; readonly child: ChildProcess };
}

/** @param random picks among several pods of a component */
export async function inject(
  target: Target,
  { name, spec, objects }: Scenario,
  settings: {
    readonly durationSeconds: number;
    readonly random: () => number;
    readonly n: number;
    readonly steps?: readonly Step[];
  },
): Promise<Injected> {
  const hits = new Map<Component, Hit>();
  const seen: string[] = [];
  const before = await target.pods();
  const steps = settings.steps ?? spec.steps;
  const killed = steps.flatMap((step) => ("kill" in step ? step.kill : []));
  for (const component of new Set(killed)) {
    const pods = before.filter((pod) => pod.component === component);
    const pod = pods[Math.floor(settings.random() * pods.length)];
    if (pod === undefined) throw new Error(`there is no pod of ${component}`);
    hits.set(component, { pod, log: followLog(target, pod) });
  }
  if (hits.size > 0) await passTime(500); // The logs are followed by then.
  let atMs = 0;
  const applied: ChaosObject[] = [];
  for (const step of steps) {
    if ("pauseSeconds" in step) await passTime(step.pauseSeconds * 1_000);
    else if ("wipe" in step) seen.push(await wipe(target, step.wipe));
    else if ("kill" in step) {
      atMs ||= Date.now();
      const counts = await Promise.all(
        step.kill.map((component) => killProcesses(target, hits.get(component)!.pod)),
      );
      step.kill.forEach((component, i) =>
        seen.push(`SIGKILL to ${counts[i]} processes of ${hits.get(component)!.pod.name}`),
      );
    } else {
      atMs ||= Date.now();
      const object = objects.find(({ metadata }) => metadata.name === step.apply)!;
      const suffix = `-${settings.n}`;
      const narrowed = withDuration(narrow(object, hits), settings.durationSeconds);
      const metadata = { ...narrowed.metadata, name: `${narrowed.metadata.name}${suffix}` };
      await target.create(collectionOf(object), { ...narrowed, metadata });
      applied.push({ ...narrowed, metadata });
    }
  }
  const gone: Pod[] = [];
  for (const object of applied) {
    const { told, pods } = await provenInjected(target, object, before);
    seen.push(...told);
    gone.push(...pods);
  }
  let endedMs = atMs;
  if (spec.durationSeconds > 0) {
    await passTime(Math.max(0, atMs + settings.durationSeconds * 1_000 - Date.now()));
    for (const object of applied) {
      if (object.kind === "Schedule") seen.push(await endSchedule(target, object));
      else await provenRecovered(target, object);
    }
    endedMs = Date.now();
  }
  for (const [component, { pod, log }] of hits) {
    await waitFor(
      `${pod.name} is gone`,
      async () => !(await target.pods()).some(({ uid }) => uid === pod.uid),
      INJECTED_WITHIN_MS,
    );
    log.child.kill();
    const shutdown = CLEAN_SHUTDOWN[component].exec(log.text);
    if (shutdown) {
      throw new Error(`${name}: ${pod.name} was not killed, it stopped: "${shutdown[0]}"`);
    }
    seen.push(`${pod.name} (${pod.uid}) is gone, and its log knows of no shutdown`);
    if (!gone.some(({ uid }) => uid === pod.uid)) gone.push(pod);
  }
  return { atMs, endedMs, seen, gone };
}

/** Ends with the container that writes it: what another container of the pod says is not in it. */
function followLog(target: Target, { name, namespace }: Pod): Hit["log"] {
  const child = target.spawn(["logs", "-f", "--since=1s", "-n", namespace, name]);
  const log = { text: "", child };
  child.stdout!.on("data", (chunk: Buffer) => (log.text += chunk.toString()));
  return log;
}

/** It stays until its pod is gone. */
async function wipe(target: Target, store: "redis" | "nats"): Promise<string> {
  const name = `data-${AUCTION}-${store}-0`;
  await target.kubectl(["delete", "pvc", name, "-n", NAMESPACE, "--wait=false"]);
  return `the claim ${name} is deleted`;
}

/** The same pods for Chaos Mesh as those whose processes were killed. */
function narrow(object: ChaosObject, hits: ReadonlyMap<Component, Hit>): ChaosObject {
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([key, v]) => [key, walk(v)]));
    const selector = copy["selector"] as Selector | undefined;
    const component = selector && componentOf(selector);
    const hit = component && hits.get(component)?.pod;
    return hit
      ? { ...copy, selector: { ...selector, pods: { [hit.namespace]: [hit.name] } } }
      : copy;
  };
  return walk(object) as ChaosObject;
}

function withDuration(object: ChaosObject, seconds: number): ChaosObject {
  if (object.spec["duration"] === undefined) return object;
  return { ...object, spec: { ...object.spec, duration: `${seconds}s` } };
}

/** Where objects of a kind are. Kinds of chaos are their own plurals. */
export function collectionOf({ kind }: Pick<ChaosObject, "kind">): string {
  const plural = kind.endsWith("Chaos") ? kind.toLowerCase() : `${kind.toLowerCase()}s`;
  return `/apis/chaos-mesh.org/v1alpha1/namespaces/${NAMESPACE}/${plural}`;
}

/** The experiments that an object is or makes. */
async function experimentsOf(target: Target, object: ChaosObject): Promise<PodChaosStatus[]> {
  const { name } = object.metadata;
  if (object.kind !== "Workflow" && object.kind !== "Schedule") {
    return [await target.json<PodChaosStatus>(`${collectionOf(object)}/${name}`)];
  }
  const { items } = await target.json<{ items: PodChaosStatus[] }>(
    collectionOf({ kind: "PodChaos" }),
  );
  const label = object.kind === "Workflow" ? "chaos-mesh.org/workflow" : "managed-by";
  return items.filter(({ metadata }) => metadata.labels?.[label] === name);
}

/** How many experiments a Workflow comes to. */
const expectedOf = ({ kind, spec }: ChaosObject): number =>
  kind === "Workflow"
    ? (spec["templates"] as { templateType: string }[]).filter(({ templateType }) =>
        templateType.endsWith("Chaos"),
      ).length
    : 1;

async function provenInjected(
  target: Target,
  object: ChaosObject,
  before: readonly Pod[],
): Promise<{ told: string[]; pods: Pod[] }> {
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
  const told: string[] = [];
  const pods: Pod[] = [];
  for (const { metadata, spec, status } of all.values()) {
    const ids = (status?.experiment?.containerRecords ?? []).map(({ id }) => id);
    told.push(
      `${metadata.name}: AllInjected=True, ${spec.action ?? object.kind} of ${ids.join(", ")}`,
    );
    if (spec.action !== "pod-kill") continue;
    for (const pod of ids.map(hit)) if (pod) pods.push(pod);
  }
  return { told, pods };
}

/** It would go on for ever. @returns what it did until now */
async function endSchedule(target: Target, object: ChaosObject): Promise<string> {
  const { name } = object.metadata;
  const experiments = await experimentsOf(target, object);
  const injected = experiments.filter(({ status }) =>
    status?.experiment?.containerRecords?.some(({ injectedCount }) => injectedCount >= 1),
  );
  await target.kubectl(["delete", "schedule.chaos-mesh.org", name, "-n", NAMESPACE]);
  return `${name}: ${injected.length} experiments injected by its end`;
}

async function provenRecovered(target: Target, object: ChaosObject): Promise<void> {
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
