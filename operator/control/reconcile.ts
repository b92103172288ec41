/** A reconcile: observe the Auction, plan, act. An Auction that is being deleted takes the same steps with the drain's plan. */
import type { StoredAuction } from "../api/auction-resource.ts";
import type { HandlerResult } from "../kube/work-queue.ts";
import { act, type ActDependencies } from "./act.ts";
import { addFinalizer, hasFinalizer } from "./finalizer.ts";
import { NO_MEMORY, type Memory } from "./observation.ts";
import { observe, type ObserveDependencies } from "./observe.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { planDrain } from "./plan-drain.ts";
import { planReconcile } from "./plan.ts";
import { requeueAfterMs } from "./requeue.ts";

type ReconcilerDependencies = ObserveDependencies & ActDependencies;

export class Reconciler {
  readonly #dependencies: ReconcilerDependencies;
  readonly #settings: OperatorSettings;
  /** By uid. */
  readonly #memories = new Map<string, Memory>();

  constructor(dependencies: ReconcilerDependencies, settings: OperatorSettings) {
    this.#dependencies = dependencies;
    this.#settings = settings;
  }

  async reconcile(auction: StoredAuction): Promise<HandlerResult> {
    const { uid, deletionTimestamp } = auction.metadata;
    const isDeleting = deletionTimestamp !== undefined;
    if (!hasFinalizer(auction)) {
      // Nothing is created before the API server has the finalizer: its change starts the next reconcile.
      if (!isDeleting) await addFinalizer(this.#dependencies.cluster, auction);
      return {};
    }
    const memory = this.#memories.get(uid) ?? NO_MEMORY;
    const observation = await observe(this.#dependencies, auction, memory);
    const plan = (isDeleting ? planDrain : planReconcile)(observation, this.#settings);
    const outcome = await act(this.#dependencies, observation, plan);
    this.#memories.set(uid, outcome.memory);
    if (outcome.failure !== null) throw outcome.failure;
    if (outcome.isFinalizerRemoved) {
      this.#memories.delete(uid);
      return {};
    }
    const dueMs = requeueAfterMs(auction.spec, outcome.status, Date.now());
    return { requeueAfterMs: plan.requeueAfterMs ?? dueMs };
  }

  /** Forgets all Auctions but these. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of this.#memories.keys()) if (!uids.has(uid)) this.#memories.delete(uid);
  }
}
