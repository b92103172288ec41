/** The cluster under test: one context of the kubeconfig, reached by kubectl and one `kubectl proxy`. */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import { INTERNAL_PORTS } from "../operator/desired/environment.ts";
import { runProgram } from "../servers/run-program.ts";
import { findProgram } from "../servers/find-program.ts";
import { waitFor } from "./wait-for.ts";
import { type Component, COMPONENTS, AUCTION, NAMESPACE, OPERATOR } from "./scenario.ts";

const REQUEST_TIMEOUT_MS = 5_000;
const ANSWERS_WITHIN_MS = 30_000;

export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly component: Component;
  readonly node: string;
  readonly image: string;
  readonly ready: boolean;
  /** Restarts of all its containers. */
  readonly restarts: number;
}

export class Target {
  readonly context: string;
  #url = "";
  readonly #children = new Set<ChildProcess>();

  constructor(context: string) {
    this.context = context;
  }

  /**
   * Call `close` afterwards, also when this throws.
   * @throws Error when the context does not exist or does not answer; Stopped
   */
  async open(): Promise<void> {
    const contexts = await runProgram("kubectl", ["config", "get-contexts", "-o", "name"]);
    if (!contexts.split("\n").includes(this.context)) {
      throw new Error(`the kubeconfig has no context ${this.context}`);
    }
    const child = this.spawn(["proxy", "--port=0"]);
    const port = await new Promise<string>((resolve, reject) => {
      let output = "";
      const fail = (why: string) => reject(new Error(`kubectl proxy ${why}: ${output}`));
      const timer = setTimeout(() => fail("printed no port"), ANSWERS_WITHIN_MS);
      child.stderr!.on("data", (chunk: Buffer) => (output += chunk.toString()));
      createInterface(child.stdout!).on("line", (line) => {
        const found = /:(\d+)$/.exec(line);
        if (!found) return;
        clearTimeout(timer);
        resolve(found[1]!);
      });
      child.once("exit", () => {
        clearTimeout(timer);
        fail("ended");
      });
    });
    this.#url = `http://127.0.0.1:${port}`;
    await waitFor("the API server answers", () => this.text("/readyz"), ANSWERS_WITHIN_MS);
  }

  close(): void {
    for (const child of this.#children) child.kill();
  }

  /** Runs detached, so that Ctrl-C does not interrupt it: a removal must finish. */
  kubectl(args: readonly string[], input = "", timeoutMs = 120_000): Promise<string> {
    const words = ["--context", this.context, ...args];
    return runProgram("kubectl", words, { input, timeoutMs, detached: true });
  }

  /** Starts a kubectl that runs until it is killed or this target is closed. */
  spawn(args: readonly string[]): ChildProcess {
    const child = spawn(findProgram("kubectl")!, ["--context", this.context, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Writes the output of a kubectl to a file. @throws Error when it fails */
  async fetchTo(file: string, args: readonly string[]): Promise<void> {
    const child = this.spawn(args);
    let stderr = "";
    child.stderr!.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    await pipeline(child.stdout!, createWriteStream(file));
    const code = await ended;
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${code}: ${stderr}`);
  }

  /** @throws Error where it is not answered with 2xx */
  async text(path: string): Promise<string> {
    const answer = await fetch(`${this.#url}${path}`, {
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text.slice(0, 300)}`);
    return text;
  }

  /** At once: to start kubectl takes longer than some faults last. @throws Error where it is refused */
  async create(path: string, object: object): Promise<void> {
    const answer = await fetch(`${this.#url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(object),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
  }

  async json<T>(path: string): Promise<T> {
    return JSON.parse(await this.text(path)) as T;
  }

  /** Of a Service's port, by the API server's proxy. */
  service(name: string, port: number, path: string): Promise<string> {
    return this.text(`/api/v1/namespaces/${NAMESPACE}/services/${name}:${port}/proxy${path}`);
  }

  /** A figure of one pod of a tier. NaN where it has none. */
  async metric({ name, component }: Pick<Pod, "name" | "component">, metric: string) {
    const port = INTERNAL_PORTS[component as keyof typeof INTERNAL_PORTS];
    const at = `/api/v1/namespaces/${NAMESPACE}/pods/${name}:${port}/proxy/metrics`;
    return metricOf(await this.text(at), metric);
  }

  /** The operator's pod that leads at present, or none. */
  async leader(): Promise<string | undefined> {
    const { namespace, lease } = OPERATOR;
    const { spec } = await this.json<{ spec?: { holderIdentity?: string } }>(
      `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${lease}`,
    );
    return spec?.holderIdentity?.split("_")[0];
  }

  /** Of all nodes together. */
  async cores(): Promise<number> {
    const { items } = await this.json<{ items: { status: { capacity: { cpu: string } } }[] }>(
      "/api/v1/nodes",
    );
    return items.reduce((sum, { status }) => sum + Number(status.capacity.cpu), 0);
  }

  /** All pods of the auction, and the operator's. Those that are on their way out are not among them. */
  async pods(): Promise<Pod[]> {
    const selector = encodeURIComponent(`gavel.dev/name=${AUCTION}`);
    const operator = encodeURIComponent(`${OPERATOR.label}=gavel-operator`);
    const lists = await Promise.all([
      this.json<PodList>(`/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=${selector}`),
      this.json<PodList>(`/api/v1/namespaces/${OPERATOR.namespace}/pods?labelSelector=${operator}`),
    ]);
    return lists.flatMap(({ items }) => items.flatMap(podOf));
  }
}

interface PodList {
  readonly items: readonly {
    readonly metadata: {
      readonly name: string;
      readonly namespace: string;
      readonly uid: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly deletionTimestamp?: string;
    };
    readonly spec: { readonly nodeName?: string; readonly containers: { image: string }[] };
    readonly status: {
      readonly conditions?: readonly { type: string; status: string }[];
      readonly containerStatuses?: readonly { restartCount: number }[];
    };
  }[];
}

function podOf({ metadata, spec, status }: PodList["items"][number]): Pod[] {
  if (metadata.deletionTimestamp !== undefined) return [];
  const label = metadata.labels["gavel.dev/component"] as Component | undefined;
  const component = metadata.namespace === OPERATOR.namespace ? "operator" : label;
  if (component === undefined || !COMPONENTS.includes(component)) return [];
  const { name, namespace, uid } = metadata;
  return [
    {
      name,
      namespace,
      uid,
      component,
      node: spec.nodeName ?? "",
      image: spec.containers[0]!.image,
      ready: status.conditions?.some((c) => c.type === "Ready" && c.status === "True") ?? false,
      restarts: status.containerStatuses?.reduce((sum, one) => sum + one.restartCount, 0) ?? 0,
    },
  ];
}

/** One word of a metric's text: the sum over its series. NaN where there is none. */
export function metricOf(text: string, name: string): number {
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, "gm"))];
  return values.length === 0 ? NaN : values.reduce((sum, [, value]) => sum + Number(value), 0);
}

/** The image that the operator runs: it holds every program of ours. */
export async function operatorImage(target: Target): Promise<string> {
  const operator = (await target.pods()).find(({ component }) => component === "operator");
  if (operator === undefined)
    throw new Error(`${target.context}: no operator in ${OPERATOR.namespace}`);
  return operator.image;
}
