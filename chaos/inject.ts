/** Does a scenario's steps once, and proves that they happened: a fault that was not there proves nothing. */
import type { ChildProcess } from "node:child_process";
import {
  type Check,
  checksOf,
  claimOf,
  collectionOf,
  endSchedule,
  INJECTED_WITHIN_MS,
  provenInjected,
  provenNew,
  provenRecovered,
  provenRestarted,
} from "./proof.ts";
import {
  type ChaosObject,
  type Component,
  componentOf,
  NAMESPACE,
  type Scenario,
  type Selector,
  selectorsOf,
  type Step,
  AUCTION,
} from "./scenario.ts";
import { killProcesses } from "./surroundings.ts";
import type { Pod, Target } from "./target.ts";
import { passTime, waitFor } from "./wait-for.ts";

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
  /** Pods that were there, and nothing was done to: not one of them may have restarted. */
  readonly untouched: readonly Pod[];
  /** Proves what shows only when all pods are ready again: volumes that are new, containers that restarted. */
  provenAfterwards(): Promise<string[]>;
  /** What Chaos Mesh's own checks said in the end, of a Workflow that has some. */
  checks(): Promise<Check[]>;
}

interface Hit {
  readonly pod: Pod;
  readonly log: { text: string; readonly child: ChildProcess };
}

export async function inject(
  target: Target,
  { name, spec, objects }: Scenario,
  settings: {
    readonly durationSeconds: number;
    /** Of the round. */
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
    const pod = await busiest(target, component, before);
    hits.set(component, { pod, log: followLog(target, pod) });
  }
  if (hits.size > 0) await passTime(500); // The logs are followed by then.
  for (const { pod, log } of hits.values()) {
    if (log.child.exitCode !== null) throw new Error(`the log of ${pod.name} cannot be followed`);
  }
  const volumes: { name: string; uid: string }[] = [];
  let atMs = 0;
  const applied: ChaosObject[] = [];
  for (const step of steps) {
    if ("pauseSeconds" in step) await passTime(step.pauseSeconds * 1_000);
    else if ("wipe" in step) volumes.push(await wipe(target, step.wipe));
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
      if (object.kind !== "Schedule") await provenRecovered(target, object);
      else seen.push(await endSchedule(target, object, settings.durationSeconds));
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
  const means = ({ spec: all }: ChaosObject, component: Component) =>
    selectorsOf(all).some((selector) => componentOf(selector) === component);
  const failed = before.filter(({ component }) =>
    applied.some((object) => object.spec["action"] === "pod-failure" && means(object, component)),
  );
  const isTouched = ({ uid, component }: Pod) => {
    const hit = hits.get(component);
    return hit ? hit.pod.uid === uid : applied.some((object) => means(object, component));
  };
  return {
    atMs,
    endedMs,
    seen,
    gone,
    untouched: before.filter((pod) => !isTouched(pod)),
    provenAfterwards: async () => [
      ...(await Promise.all(volumes.map((volume) => provenNew(target, volume)))),
      ...(await provenRestarted(target, failed)),
    ],
    checks: () => checksOf(target, applied),
  };
}

const LOAD_METRICS: Partial<Record<Component, string>> = {
  gateway: "gavel_gateway_connections",
  broadcast: "gavel_broadcast_sockets",
};

/** The pod of a component that most depends on: one that does nothing could be killed without a trace. */
async function busiest(target: Target, component: Component, pods: readonly Pod[]): Promise<Pod> {
  const own = pods.filter((pod) => pod.component === component);
  const metric = LOAD_METRICS[component];
  let pod = own[0];
  if (component === "operator") {
    const leader = await target.leader();
    pod = own.find(({ name }) => name === leader);
  } else if (metric !== undefined) {
    const loads = await Promise.all(own.map((one) => target.metric(one, metric)));
    pod = own[loads.indexOf(Math.max(...loads))];
  }
  if (pod === undefined) throw new Error(`no pod of ${component} tells how much depends on it`);
  return pod;
}

/** Ends with the container that writes it: what another container of the pod says is not in it. */
function followLog(target: Target, { name, namespace }: Pod): Hit["log"] {
  const child = target.spawn(["logs", "-f", "--since=1s", "-n", namespace, name]);
  const log = { text: "", child };
  child.stdout!.on("data", (chunk: Buffer) => (log.text += chunk.toString()));
  return log;
}

/** It stays until its pod is gone. */
async function wipe(target: Target, store: "redis" | "nats") {
  const name = `data-${AUCTION}-${store}-0`;
  const { uid } = (await claimOf(target, name)).metadata;
  await target.kubectl(["delete", "pvc", name, "-n", NAMESPACE, "--wait=false"]);
  return { name, uid };
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
