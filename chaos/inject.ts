/** Runs the steps of a scenario once and proves that the faults took effect. */
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

/** Log lines of an orderly shutdown. None may appear after SIGKILL. */
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
  /** Time of the first fault, by the clock of this machine. */
  readonly atMs: number;
  /** End of the faults; for kills equal to `atMs`. */
  readonly endedMs: number;
  /** Evidence that the faults took effect, for the report. */
  readonly seen: readonly string[];
  /** Pods that must be replaced. */
  readonly gone: readonly Pod[];
  /** Pods without a fault. None of them may restart. */
  readonly untouched: readonly Pod[];
  /** Evidence that exists only once all pods are ready: new volumes, restarted containers. */
  provenAfterwards(): Promise<string[]>;
  /** Results of the StatusChecks of a Workflow. */
  checks(): Promise<Check[]>;
}

/** A pod whose processes are killed, and its log from before. */
interface Victim {
  readonly pod: Pod;
  readonly log: { text: string; readonly child: ChildProcess };
}

type Victims = ReadonlyMap<Component, Victim>;

interface InjectOptions {
  readonly durationSeconds: number;
  /** Number of the round. */
  readonly n: number;
  readonly steps: readonly Step[];
}

export async function inject(
  target: Target,
  scenario: Scenario,
  options: InjectOptions,
): Promise<Injected> {
  const { name, spec } = scenario;
  const before = await target.pods();
  const victims = await chooseVictims(target, options.steps, before);
  const done = await runSteps(target, scenario, options, victims);
  const { atMs, applied, volumes } = done;
  const gone: Pod[] = [];
  const seen = [...done.seen];
  for (const object of applied) {
    const { evidence, pods } = await provenInjected(target, object, before);
    seen.push(...evidence);
    gone.push(...pods);
  }
  let endedMs = atMs;
  if (spec.durationSeconds > 0) {
    seen.push(...(await awaitEnd(target, applied, atMs, options.durationSeconds)));
    endedMs = Date.now();
  }
  for (const [component, victim] of victims) {
    const { pod } = victim;
    seen.push(await provenKilled(target, name, component, victim));
    if (!gone.some(({ uid }) => uid === pod.uid)) gone.push(pod);
  }
  const failed = before.filter(({ component }) =>
    applied.some((object) => object.spec["action"] === "pod-failure" && selects(object, component)),
  );
  return {
    atMs,
    endedMs,
    seen,
    gone,
    untouched: before.filter((pod) => !isTouched(pod, victims, applied)),
    provenAfterwards: async () => [
      ...(await Promise.all(volumes.map((volume) => provenNew(target, volume)))),
      ...(await provenRestarted(target, failed)),
    ],
    checks: () => checksOf(target, applied),
  };
}

/** The busiest pod of each component that is to be killed, with its log followed. */
async function chooseVictims(
  target: Target,
  steps: readonly Step[],
  pods: readonly Pod[],
): Promise<Victims> {
  const victims = new Map<Component, Victim>();
  for (const component of new Set(steps.flatMap((step) => ("kill" in step ? step.kill : [])))) {
    const pod = await busiest(target, component, pods);
    victims.set(component, { pod, log: followLog(target, pod) });
  }
  if (victims.size > 0) await passTime(500); // Until kubectl follows the logs.
  for (const { pod, log } of victims.values()) {
    if (log.child.exitCode !== null) throw new Error(`cannot follow the log of ${pod.name}`);
  }
  return victims;
}

async function runSteps(
  target: Target,
  { objects }: Scenario,
  { durationSeconds, n, steps }: InjectOptions,
  victims: Victims,
) {
  const seen: string[] = [];
  const volumes: { name: string; uid: string }[] = [];
  const applied: ChaosObject[] = [];
  let atMs = 0;
  for (const step of steps) {
    if ("pauseSeconds" in step) await passTime(step.pauseSeconds * 1_000);
    else if ("wipe" in step) volumes.push(await wipe(target, step.wipe));
    else if ("kill" in step) {
      atMs ||= Date.now();
      const pods = step.kill.map((component) => victims.get(component)!.pod);
      const counts = await Promise.all(pods.map((pod) => killProcesses(target, pod)));
      pods.forEach(({ name }, i) => seen.push(`SIGKILL to ${counts[i]} processes of ${name}`));
    } else {
      atMs ||= Date.now();
      const object = objects.find(({ metadata }) => metadata.name === step.apply)!;
      const narrowed = withDuration(narrow(object, victims), durationSeconds);
      const metadata = { ...narrowed.metadata, name: `${narrowed.metadata.name}-${n}` };
      await target.create(collectionOf(object), { ...narrowed, metadata });
      applied.push({ ...narrowed, metadata });
    }
  }
  return { atMs, seen, volumes, applied };
}

/** Waits until faults that last are over. @returns evidence of their end */
async function awaitEnd(
  target: Target,
  applied: readonly ChaosObject[],
  atMs: number,
  durationSeconds: number,
): Promise<string[]> {
  const seen: string[] = [];
  await passTime(Math.max(0, atMs + durationSeconds * 1_000 - Date.now()));
  for (const object of applied) {
    if (object.kind !== "Schedule") await provenRecovered(target, object);
    else seen.push(await endSchedule(target, object, durationSeconds));
  }
  return seen;
}

/** @throws Error when the pod is still there, or its log shows an orderly shutdown */
async function provenKilled(
  target: Target,
  scenario: string,
  component: Component,
  { pod, log }: Victim,
): Promise<string> {
  await waitFor(
    `${pod.name} is gone`,
    async () => !(await target.pods()).some(({ uid }) => uid === pod.uid),
    INJECTED_WITHIN_MS,
  );
  log.child.kill();
  const shutdown = CLEAN_SHUTDOWN[component].exec(log.text);
  if (shutdown) {
    throw new Error(`${scenario}: ${pod.name} was not killed, it stopped: "${shutdown[0]}"`);
  }
  return `${pod.name} (${pod.uid}) is gone, and its log shows no shutdown`;
}

const selects = ({ spec }: ChaosObject, component: Component): boolean =>
  selectorsOf(spec).some((selector) => componentOf(selector) === component);

function isTouched({ uid, component }: Pod, victims: Victims, applied: readonly ChaosObject[]) {
  const victim = victims.get(component);
  return victim ? victim.pod.uid === uid : applied.some((object) => selects(object, component));
}

const LOAD_METRICS: Partial<Record<Component, string>> = {
  gateway: "gavel_gateway_connections",
  broadcast: "gavel_broadcast_sockets",
};

/** The pod of a component with most connections. Killing an idle pod would prove nothing. */
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
  if (pod === undefined) throw new Error(`no pod of ${component} reports its load`);
  return pod;
}

/** Follows the log of the pod's container until that container ends. */
function followLog(target: Target, { name, namespace }: Pod): Victim["log"] {
  const child = target.spawn(["logs", "-f", "--since=1s", "-n", namespace, name]);
  const log = { text: "", child };
  child.stdout!.on("data", (chunk: Buffer) => (log.text += chunk.toString()));
  return log;
}

/** Deletes the volume claim of a store. Kubernetes keeps it until the pod is gone. */
async function wipe(target: Target, store: "redis" | "nats") {
  const name = `data-${AUCTION}-${store}-0`;
  const { uid } = (await claimOf(target, name)).metadata;
  await target.kubectl(["delete", "pvc", name, "-n", NAMESPACE, "--wait=false"]);
  return { name, uid };
}

/** Restricts the selectors of a document to the pods whose processes were killed. */
function narrow(object: ChaosObject, victims: Victims): ChaosObject {
  const walk = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(walk);
    if (typeof value !== "object" || value === null) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([key, v]) => [key, walk(v)]));
    const selector = copy["selector"] as Selector | undefined;
    const component = selector && componentOf(selector);
    const pod = component && victims.get(component)?.pod;
    return pod
      ? { ...copy, selector: { ...selector, pods: { [pod.namespace]: [pod.name] } } }
      : copy;
  };
  return walk(object) as ChaosObject;
}

function withDuration(object: ChaosObject, seconds: number): ChaosObject {
  if (object.spec["duration"] === undefined) return object;
  return { ...object, spec: { ...object.spec, duration: `${seconds}s` } };
}
