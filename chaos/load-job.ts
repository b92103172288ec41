/** Runs bidders and viewers as a Job in the cluster (a port-forward would end with its pod) and reads its output. */
import { createInterface } from "node:readline";
import { stringify } from "yaml";
import {
  BIDS_FILE,
  FINISH_FILE,
  type Line,
  type Plan,
  type Second,
  TAKEN_FILE,
  VIEWS_FILE,
} from "../load/in-cluster/plan.ts";
import { AUCTION, NAMESPACE } from "./scenario.ts";
import type { AuctionUnderTest } from "./surroundings.ts";
import type { Target } from "./target.ts";
import { waitFor } from "./wait-for.ts";

const LOAD = "chaos-load";
const FOLDER = "/histories";
const BIDDERS = 50;
const READY_WITHIN_MS = 180_000;
const FINISHED_WITHIN_MS = 180_000;
/** The Job ends after this even when nobody removes it. */
const DEADLINE_SECONDS = 3 * 3_600;

interface LoadSettings {
  readonly rates: readonly number[];
  readonly stepSeconds: number;
  readonly viewers: number;
  readonly seed: number;
}

export async function planOf(auction: AuctionUnderTest, settings: LoadSettings): Promise<Plan> {
  const host = (tier: string) => `${AUCTION}-${tier}.${NAMESPACE}`;
  const ids = Array.from({ length: BIDDERS }, (_, n) => `bidder-${n}`);
  const tokens: [string, string][] = [];
  for (const id of ids) tokens.push([id, await auction.token(id)]);
  return {
    gateway: { host: host("gateway"), port: 8080 },
    broadcast: { host: host("broadcast"), port: 8081 },
    lotIds: auction.resource.spec.lots.map(({ id }) => id),
    tokens,
    ...settings,
  };
}

function objectsOf(plan: Plan, image: string): object[] {
  const metadata = { name: LOAD, namespace: NAMESPACE };
  return [
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata,
      stringData: { "plan.json": JSON.stringify(plan) },
    },
    {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata,
      spec: {
        backoffLimit: 0,
        activeDeadlineSeconds: DEADLINE_SECONDS,
        template: {
          metadata: { labels: { "app.kubernetes.io/name": LOAD } },
          spec: {
            restartPolicy: "Never",
            terminationGracePeriodSeconds: 1,
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: 1000,
              fsGroup: 1000,
              seccompProfile: { type: "RuntimeDefault" },
            },
            containers: [
              {
                name: LOAD,
                image,
                command: ["node", "load/in-cluster/main.ts", "/plan/plan.json", FOLDER],
                securityContext: {
                  allowPrivilegeEscalation: false,
                  capabilities: { drop: ["ALL"] },
                },
                resources: { requests: { cpu: "150m", memory: "256Mi" } },
                volumeMounts: [
                  { name: "plan", mountPath: "/plan", readOnly: true },
                  { name: "histories", mountPath: FOLDER },
                ],
              },
            ],
            volumes: [
              { name: "plan", secret: { secretName: LOAD } },
              { name: "histories", emptyDir: {} },
            ],
          },
        },
      },
    },
  ];
}

export class LoadJob {
  readonly #target: Target;
  /** Every second so far. */
  readonly seconds: Second[] = [];
  readonly noise: string[] = [];
  #pod = "";
  #state: "starting" | "ready" | "finished" | "ended" = "starting";
  /** Clock of the pod minus the clock of this machine, at most too low by the delay of a line. */
  #aheadMs = -Infinity;

  constructor(target: Target) {
    this.#target = target;
  }

  async start(plan: Plan, image: string): Promise<void> {
    const yaml = objectsOf(plan, image).map((object) => stringify(object));
    await this.#target.kubectl(["apply", "-f", "-"], yaml.join("---\n"));
    this.#pod = await waitFor("the load's pod runs", () => this.#runningPod(), READY_WITHIN_MS);
    this.#follow();
    await this.#reaches("ready", READY_WITHIN_MS);
  }

  /** Stops new bids. Resolves when every bid has its answer and every viewer the last events. */
  async finish(): Promise<void> {
    await this.#touch(FINISH_FILE);
    await this.#reaches("finished", FINISHED_WITHIN_MS);
  }

  /** @returns the files' paths */
  async fetch(folder: string): Promise<{ bids: string; views: string }> {
    const take = async (name: string) => {
      const file = `${folder}/${name}`;
      const at = ["exec", "-n", NAMESPACE, this.#pod, "--", "cat", `${FOLDER}/${name}`];
      await this.#target.fetchTo(file, at);
      return file;
    };
    const files = { bids: await take(BIDS_FILE), views: await take(VIEWS_FILE) };
    await this.#touch(TAKEN_FILE).catch(() => {});
    return files;
  }

  /** The seconds most of which lies in that span of this machine's clock. */
  between(fromMs: number, toMs: number): Second[] {
    const ahead = Number.isFinite(this.#aheadMs) ? this.#aheadMs : 0;
    return this.seconds.filter(
      ({ atMs }) => atMs - ahead - 500 >= fromMs && atMs - ahead - 500 < toMs,
    );
  }

  get aheadMs(): number {
    return this.#aheadMs;
  }

  #touch(name: string): Promise<string> {
    return this.#target.kubectl([
      "exec",
      "-n",
      NAMESPACE,
      this.#pod,
      "--",
      "touch",
      `${FOLDER}/${name}`,
    ]);
  }

  async #runningPod(): Promise<string | false> {
    const { items } = await this.#target.json<{
      items: { metadata: { name: string }; status: { phase: string } }[];
    }>(`/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=job-name=${LOAD}`);
    const [pod] = items;
    if (pod?.status.phase === "Failed") throw new Error("the load's pod failed");
    return pod?.status.phase === "Running" && pod.metadata.name;
  }

  #follow(): void {
    const child = this.#target.spawn(["logs", "-f", "-n", NAMESPACE, this.#pod]);
    createInterface(child.stdout!).on("line", (text) => this.#hear(text));
    child.once("exit", () => (this.#state = this.#state === "finished" ? "finished" : "ended"));
  }

  #hear(text: string): void {
    const line = readLine(text);
    if (line === null) return void this.noise.push(text);
    if ("state" in line) this.#state = line.state;
    else {
      this.seconds.push(line.second);
      this.#aheadMs = Math.max(this.#aheadMs, line.second.atMs - Date.now());
    }
  }

  async #reaches(state: "ready" | "finished", withinMs: number): Promise<void> {
    await waitFor(
      `the load is ${state}`,
      () => this.#state === state || this.#state === "ended",
      withinMs,
    );
    if (this.#state === "ended") throw new Error(`the load ended: ${this.noise.join("\n")}`);
  }
}

/** Null for what is no line of ours, or only the beginning of one: its pod was killed. */
function readLine(text: string): Line | null {
  try {
    return text.startsWith("{") ? (JSON.parse(text) as Line) : null;
  } catch {
    return null;
  }
}
