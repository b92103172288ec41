/** A reconcile: observe the Auction, plan, act. A deleted Auction goes the same way with the drain's plan. */
import type { StoredAuction } from "../api/auction-resource.ts";
import type { HandlerResult } from "../kube/work-queue.ts";
import { act, type ActDependencies } from "./act.ts";
import { addFinalizer, hasFinalizer } from "./finalizer.ts";
import { NOTHING_REMEMBERED, type ReconcileState } from "./observation.ts";
import { observe, type ObserveDependencies } from "./observe.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { planDrain } from "./plan-drain.ts";
import { planReconcile } from "./plan.ts";
import { requeueAfterMs } from "./schedule.ts";

type ReconcilerDependencies = ObserveDependencies & ActDependencies;

export class Reconciler {
  readonly #dependencies: ReconcilerDependencies;
  readonly #settings: OperatorSettings;
  /** By uid. */
  readonly #states = new Map<string, ReconcileState>();

  constructor(dependencies: ReconcilerDependencies, settings: OperatorSettings) {
    this.#dependencies = dependencies;
    this.#settings = settings;
  }

  async reconcile(auction: StoredAuction): Promise<HandlerResult> {
    const { uid, deletionTimestamp } = auction.metadata;
    const isDeleted = deletionTimestamp !== undefined;
    if (!hasFinalizer(auction)) {
      // Nothing is created before the API server has the finalizer: its change starts the next reconcile.
      if (!isDeleted) await addFinalizer(this.#dependencies.cluster, auction);
      return {};
    }
    const remembered = this.#states.get(uid) ?? NOTHING_REMEMBERED;
    const observation = await observe(this.#dependencies, auction, remembered);
    const plan = (isDeleted ? planDrain : planReconcile)(observation, this.#settings);
    const outcome = await act(this.#dependencies, observation, plan);
    this.#states.set(uid, outcome.state);
    if (outcome.failure !== null) throw outcome.failure;
    if (outcome.isReleased) {
      this.#states.delete(uid);
      return {};
    }
    const dueMs = requeueAfterMs(auction.spec, outcome.status, Date.now());
    return { requeueAfterMs: plan.requeueAfterMs ?? dueMs };
  }

  /** Forgets all Auctions but these. */
  retain(uids: ReadonlySet<string>): void {
    for (const uid of this.#states.keys()) if (!uids.has(uid)) this.#states.delete(uid);
  }
}
