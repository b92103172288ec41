/**
 * What stands behind an Auction where there are no nodes: Deployments whose pods are "ready" because the test
 * says so, and an archival tier that answers as the real one does. The real ones are tried on kind.
 */
import { type Archival, ArchivalUnavailable } from "../control/archival-client.ts";
import type { Cluster } from "../kube/client.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { rulesHashOf, type AuctionDefinition } from "../../services/store/define-lots.ts";
import type { State } from "../../services/archival/observe/state.ts";
import { state } from "./observation.ts";

/** An archival tier of one Auction; `calls` is what it was asked, in order. */
export class StandInArchival implements Archival {
  readonly calls: string[] = [];
  reachable = true;
  /** What it does not come to do: the question has no answer. */
  readonly stuck = new Set<"fence" | "verify" | "clean">();
  /** Answers to be given instead of doing it. */
  refuseRules: string | null = null;
  now: State = state({
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

  #lots(parts: Partial<NonNullable<State["lots"]>>): void {
    this.now = { ...this.now, lots: { ...this.now.lots!, ...parts } };
  }

  openNow(): void {
    this.now = { ...this.now, opensAtMs: Date.now() - 1, nowMs: Date.now() };
    this.#lots({ scheduled: 0, open: this.now.lots!.total });
  }

  closeNow(): void {
    const { total } = this.now.lots!;
    this.#lots({ open: 0, closed: total, sold: total });
  }

  #reach(call: string): void {
    if (!this.reachable) throw new ArchivalUnavailable("connection refused");
    if (this.calls.at(-1) !== call) this.calls.push(call);
  }

  #come(to: "fence" | "verify" | "clean"): void {
    if (this.stuck.has(to)) throw new ArchivalUnavailable("timed out");
  }

  async state(): Promise<State> {
    if (!this.reachable) throw new ArchivalUnavailable("connection refused");
    return { ...this.now, nowMs: Date.now() };
  }

  async open(): Promise<void> {
    this.#reach("open");
    this.openNow();
  }

  async publishRules(definition: AuctionDefinition) {
    this.#reach("rules");
    if (this.refuseRules !== null) return { outcome: "refused", why: this.refuseRules } as const;
    this.now = { ...this.now, rulesHash: rulesHashOf(definition) };
    return { outcome: "defined" } as const;
  }

  async fence(): Promise<void> {
    this.#reach("fence");
    this.#come("fence");
    this.now = { ...this.now, fencedId: this.now.lastId ?? "0-0" };
  }

  async verify(): Promise<void> {
    this.#reach("verify");
    this.#come("verify");
    const verified = { atMs: Date.now(), ok: true, lots: 1, events: 1, differences: [] };
    this.now = { ...this.now, verified };
  }

  async clean(force: boolean): Promise<void> {
    this.#reach(force ? "clean by force" : "clean");
    this.#come("clean");
    this.now = { ...this.now, cleaned: true, rulesHash: null, lots: null };
  }
}

/** Says of every workload what its controller would say once all pods run. */
export async function bePods(cluster: Cluster, namespace: string): Promise<void> {
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
      const isSaid =
        before.observedGeneration === observedGeneration &&
        (before.readyReplicas ?? 0) === replicas;
      if (isSaid) continue;
      await cluster.jsonPatch(
        { ...kind, namespace, name: workload.metadata.name },
        [{ op: "add", path: "/status", value: status }],
        { subresource: "status" },
      );
    }
  }
}
