/**
 * Stand-ins for what a cluster without nodes lacks: pods that the test makes ready, and an archival tier
 * that answers like the real one. The real ones are tested on kind.
 */
import { type Archival, ArchivalUnavailable } from "../control/archival-client.ts";
import type { Cluster } from "../kube/client.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { rulesHashOf, type AuctionDefinition } from "../../services/store/define-lots.ts";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { state } from "./observation.ts";

/** The archival tier of one Auction. `calls` lists the calls in order, repeats of one call once. */
export class StandInArchival implements Archival {
  readonly calls: string[] = [];
  reachable = true;
  /** Calls that time out. */
  readonly stuck = new Set<"fence" | "verify" | "clean">();
  /** Why published rules are refused; null: they are accepted. */
  refuseRules: string | null = null;
  now: ArchivalState = state({
    rulesHash: null,
    lots: null,
    opensAtMs: null,
    bidsAccepted: 0,
    extensions: 0,
  });

  define(definition: AuctionDefinition): void {
    const total = definition.lots.length;
    this.now = {
      ...this.now,
      rulesHash: rulesHashOf(definition),
      opensAtMs: definition.opensAtMs,
      lots: { total, scheduled: total, open: 0, closed: 0, sold: 0, unsold: 0, withdrawn: 0 },
    };
  }

  #setLots(changes: Partial<NonNullable<ArchivalState["lots"]>>): void {
    this.now = { ...this.now, lots: { ...this.now.lots!, ...changes } };
  }

  openNow(): void {
    this.now = { ...this.now, opensAtMs: Date.now() - 1, nowMs: Date.now() };
    this.#setLots({ scheduled: 0, open: this.now.lots!.total });
  }

  closeNow(): void {
    const { total } = this.now.lots!;
    this.#setLots({ open: 0, closed: total, sold: total });
  }

  #receive(call: string): void {
    if (!this.reachable) throw new ArchivalUnavailable("connection refused");
    if (this.calls.at(-1) !== call) this.calls.push(call);
  }

  #finish(call: "fence" | "verify" | "clean"): void {
    if (this.stuck.has(call)) throw new ArchivalUnavailable("timed out");
  }

  async state(): Promise<ArchivalState> {
    if (!this.reachable) throw new ArchivalUnavailable("connection refused");
    return { ...this.now, nowMs: Date.now() };
  }

  async open(): Promise<void> {
    this.#receive("open");
    this.openNow();
  }

  async publishRules(definition: AuctionDefinition) {
    this.#receive("rules");
    if (this.refuseRules !== null) return { outcome: "refused", why: this.refuseRules } as const;
    this.now = { ...this.now, rulesHash: rulesHashOf(definition) };
    return { outcome: "defined" } as const;
  }

  async fence(): Promise<void> {
    this.#receive("fence");
    this.#finish("fence");
    this.now = { ...this.now, fencedId: this.now.lastId ?? "0-0" };
  }

  async verify(): Promise<void> {
    this.#receive("verify");
    this.#finish("verify");
    const verified = { atMs: Date.now(), ok: true, lots: 1, events: 1, differences: [] };
    this.now = { ...this.now, verified };
  }

  async clean(force: boolean): Promise<void> {
    this.#receive(force ? "clean by force" : "clean");
    this.#finish("clean");
    this.now = { ...this.now, cleaned: true, rulesHash: null, lots: null };
  }
}

/** Writes the status that the controller of each workload would write once all pods are ready. */
export async function makePodsReady(cluster: Cluster, namespace: string): Promise<void> {
  for (const kind of [KINDS.Deployment, KINDS.StatefulSet]) {
    for (const workload of await cluster.list<AnyObject>(kind, { namespace })) {
      const replicas: number = workload["spec"].replicas ?? 1;
      const observedGeneration = workload.metadata.generation;
      const status = {
        observedGeneration,
        replicas,
        readyReplicas: replicas,
        updatedReplicas: replicas,
        availableReplicas: replicas,
      };
      const before = workload["status"] ?? {};
      const isReady =
        before.observedGeneration === observedGeneration &&
        (before.readyReplicas ?? 0) === replicas;
      if (isReady) continue;
      await cluster.jsonPatch(
        { ...kind, namespace, name: workload.metadata.name },
        [{ op: "add", path: "/status", value: status }],
        { subresource: "status" },
      );
    }
  }
}
