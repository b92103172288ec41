/** The operator's life: watch, lead, reconcile. */
import { pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { type Archival } from "./archival-client.ts";
import { SecretReader } from "./auction-secrets.ts";
import { type Cache, Children, MANAGER, CHILDREN_SELECTOR, WATCHED } from "./children.ts";
import type { Cluster } from "../kube/client.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { NAME_LABEL, UID_LABEL } from "../desired/identity.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { type AnyObject, keyOf, type ServedKind } from "../kube/object.ts";
import type { Memory, Operator, Settings } from "./observe.ts";
import type { OperatorMetrics } from "../metrics.ts";
import { PHASES } from "../api/auction-status.ts";
import { reconcile } from "./reconcile.ts";
import { sweepOrphans } from "./sweep-orphans.ts";
import { Reflector } from "../kube/reflector.ts";
import { WorkQueue } from "../kube/work-queue.ts";

export interface OperatorOptions {
  readonly cluster: Cluster;
  readonly settings: Settings;
  readonly version: string;
  /** Of this process: who says it in Events. */
  readonly instance: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly workers: number;
  readonly metrics: OperatorMetrics;
  readonly log: Logger;
  archivalOf(auction: StoredAuction, token: string): Archival;
}

const SYNC_MS = 120_000;
const STOP_MS = 20_000;
const SWEEP_MS = 10 * 60_000;
const PHASES_MS = 5_000;

export class AuctionOperator {
  readonly #options: OperatorOptions;
  readonly #reflectors: Reflector<AnyObject>[] = [];
  readonly #auctions: Cache;
  readonly #operator: Operator;
  readonly #queue: WorkQueue;

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { cluster, metrics, log, instance } = options;
    this.#queue = new WorkQueue({
      name: "auction",
      workers: options.workers,
      handle: (key) => reconcile(this.#operator, key),
      log,
      metrics,
    });
    this.#auctions = this.#watch(AUCTION_KIND, undefined, (auction) => [keyOf(auction)]);
    const auctionOf = ({ metadata }: AnyObject) => [
      `${metadata.namespace}/${metadata.labels?.[NAME_LABEL]}`,
    ];
    metrics.ssaConflicts.inc({ manager: MANAGER }, 0);
    const caches = new Map(
      WATCHED.map((kind) => [kind.kind, this.#watch(kind, CHILDREN_SELECTOR, auctionOf)]),
    );
    this.#operator = {
      cluster,
      settings: options.settings,
      version: options.version,
      children: new Children(cluster, caches, log),
      secrets: new SecretReader(cluster),
      events: new EventRecorder({
        cluster,
        controller: "gavel.dev/operator",
        instance,
        log,
        droppedEvents: metrics.droppedEvents,
      }),
      metrics,
      log,
      memories: new Map<string, Memory>(),
      auction: (key) => this.#auctions.get(key) as StoredAuction | undefined,
      archivalOf: options.archivalOf,
    };
  }

  #watch(
    of: ServedKind,
    labelSelector: string | undefined,
    keysOf: (object: AnyObject) => readonly string[],
  ): Cache {
    const { cluster, namespaces, log, metrics } = this.#options;
    const scopes = namespaces.length === 0 ? [undefined] : namespaces;
    const reflectors = scopes.map(
      (namespace) =>
        new Reflector<AnyObject>({
          cluster: cluster.on("watch"),
          of,
          ...(namespace === undefined ? {} : { namespace }),
          ...(labelSelector === undefined ? {} : { labelSelector }),
          indexLabels: [UID_LABEL],
          keysOf,
          emit: (key) => this.#queue.add(key),
          log,
          metrics,
        }),
    );
    this.#reflectors.push(...reflectors);
    return {
      get: (key) => reflectors.map((one) => one.get(key)).find((found) => found !== undefined),
      byLabel: (label, value) => reflectors.flatMap((one) => one.byLabel(label, value)),
      all: () => reflectors.flatMap((one) => one.all()),
    };
  }

  /** Begins to watch; caches fill whether this process leads or not. */
  start(): void {
    for (const reflector of this.#reflectors) reflector.start();
  }

  /** Longest silence of a watch, in ms: more than some minutes is not well. */
  get silentMs(): number {
    return Math.max(...this.#reflectors.map((reflector) => reflector.silentMs));
  }

  get synced(): boolean {
    return this.#reflectors.every((reflector) => reflector.synced);
  }

  /** Reconciles until the signal aborts: what the one that leads does. */
  async work(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.whenSynced(SYNC_MS)));
    for (const auction of this.#auctions.all()) this.#queue.add(keyOf(auction));
    this.#queue.start();
    const loops = [this.#countPhases(signal), this.#sweep(signal)];
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await this.#queue.stop(STOP_MS);
    await Promise.all(loops);
    await this.#operator.events.flush();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.stop()));
  }

  async #countPhases(signal: AbortSignal): Promise<void> {
    const { auctionPhase } = this.#options.metrics;
    while (!signal.aborted) {
      const phases = this.#auctions.all().map((auction) => auction["status"]?.phase ?? "Pending");
      for (const phase of PHASES) {
        auctionPhase.set({ phase }, phases.filter((one) => one === phase).length);
      }
      await pause(PHASES_MS, signal);
    }
    auctionPhase.reset();
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { children, log, memories } = this.#operator;
    while (!signal.aborted) {
      await pause(SWEEP_MS, signal);
      if (signal.aborted) return;
      const uids = new Set(this.#auctions.all().map(({ metadata }) => metadata.uid!));
      for (const uid of memories.keys()) if (!uids.has(uid)) memories.delete(uid);
      await sweepOrphans(children, uids, log).catch((error: unknown) =>
        log.warn({ err: error }, "orphans could not be deleted"),
      );
    }
  }
}
