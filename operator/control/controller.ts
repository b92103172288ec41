/** Watches Auctions and their objects, and reconciles each Auction that changed. */
import { aborted, pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { PHASES } from "../api/auction-status.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { NAME_LABEL, UID_LABEL } from "../desired/identity.ts";
import type { Cluster } from "../kube/client.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { type AnyObject, keyOf, type ServedKind } from "../kube/object.ts";
import { Reflector } from "../kube/reflector.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import type { OperatorMetrics } from "../metrics.ts";
import type { Archival } from "./archival-client.ts";
import { SecretReader } from "./auction-secrets.ts";
import { type Cache, Children, CHILDREN_SELECTOR, MANAGER, WATCHED } from "./children.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { Reconciler } from "./reconcile.ts";
import { sweepOrphans } from "./sweep-orphans.ts";

interface ControllerDependencies {
  readonly cluster: Cluster;
  readonly settings: OperatorSettings;
  /** The name of this process in Events. */
  readonly instance: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly workers: number;
  readonly metrics: OperatorMetrics;
  readonly log: Logger;
  archivalFor(auction: StoredAuction, token: string): Archival;
}

const SYNC_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 20_000;
const SWEEP_EVERY_MS = 10 * 60_000;
const PHASES_EVERY_MS = 5_000;

export class AuctionController {
  readonly #dependencies: ControllerDependencies;
  readonly #reflectors: Reflector<AnyObject>[] = [];
  readonly #auctions: Cache;
  readonly #children: Children;
  readonly #events: EventRecorder;
  readonly #reconciler: Reconciler;
  readonly #queue: WorkQueue;

  constructor(dependencies: ControllerDependencies) {
    this.#dependencies = dependencies;
    const { cluster, settings, instance, workers, metrics, log, archivalFor } = dependencies;
    this.#queue = new WorkQueue({
      name: "auction",
      workers,
      handle: (key) => this.#reconcile(key),
      log,
      metrics,
    });
    this.#auctions = this.#watch(AUCTION_KIND, undefined, (auction) => [keyOf(auction)]);
    const auctionKeys = ({ metadata }: AnyObject) => [
      `${metadata.namespace}/${metadata.labels?.[NAME_LABEL]}`,
    ];
    const caches = new Map(
      WATCHED.map((kind) => [kind.kind, this.#watch(kind, CHILDREN_SELECTOR, auctionKeys)]),
    );
    this.#children = new Children(cluster, caches, log);
    metrics.ssaConflicts.inc({ manager: MANAGER }, 0);
    this.#events = new EventRecorder({
      cluster,
      controller: "gavel.dev/operator",
      instance,
      log,
      droppedEvents: metrics.droppedEvents,
    });
    this.#reconciler = new Reconciler(
      {
        cluster,
        children: this.#children,
        secrets: new SecretReader(cluster),
        events: this.#events,
        metrics,
        log,
        archivalFor,
      },
      settings,
    );
  }

  async #reconcile(key: string) {
    const auction = this.#auctions.get(key) as StoredAuction | undefined;
    return auction === undefined ? {} : this.#reconciler.reconcile(auction);
  }

  #watch(
    kind: ServedKind,
    labelSelector: string | undefined,
    keysOf: (object: AnyObject) => readonly string[],
  ): Cache {
    const { cluster, namespaces, log, metrics } = this.#dependencies;
    const scopes = namespaces.length === 0 ? [undefined] : namespaces;
    const reflectors = scopes.map(
      (namespace) =>
        new Reflector<AnyObject>({
          cluster: cluster.on("watch"),
          kind,
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
      get: (key) =>
        reflectors.map((reflector) => reflector.get(key)).find((found) => found !== undefined),
      byLabel: (label, value) => reflectors.flatMap((reflector) => reflector.byLabel(label, value)),
      all: () => reflectors.flatMap((reflector) => reflector.all()),
    };
  }

  /** Starts the watches. The caches are filled whether or not this process leads. */
  start(): void {
    for (const reflector of this.#reflectors) reflector.start();
  }

  /** The longest time, in ms, since the API server last sent anything on a watch. */
  get silentMs(): number {
    return Math.max(...this.#reflectors.map((reflector) => reflector.silentMs));
  }

  get synced(): boolean {
    return this.#reflectors.every((reflector) => reflector.synced);
  }

  /** Reconciles until the signal aborts. Only the leader calls it. */
  async work(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.whenSynced(SYNC_TIMEOUT_MS)));
    for (const auction of this.#auctions.all()) this.#queue.add(keyOf(auction));
    this.#queue.start();
    const loops = [this.#countPhases(signal), this.#sweep(signal)];
    await aborted(signal);
    await this.#queue.stop(STOP_TIMEOUT_MS);
    await Promise.all(loops);
    await this.#events.flush();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.stop()));
  }

  async #countPhases(signal: AbortSignal): Promise<void> {
    const { auctionPhase } = this.#dependencies.metrics;
    while (!signal.aborted) {
      const phases = this.#auctions.all().map((auction) => auction["status"]?.phase ?? "Pending");
      for (const phase of PHASES) {
        auctionPhase.set({ phase }, phases.filter((other) => other === phase).length);
      }
      await pause(PHASES_EVERY_MS, signal);
    }
    auctionPhase.reset();
  }

  async #sweep(signal: AbortSignal): Promise<void> {
    const { log } = this.#dependencies;
    while (!signal.aborted) {
      await pause(SWEEP_EVERY_MS, signal);
      if (signal.aborted) return;
      const uids = new Set(this.#auctions.all().map(({ metadata }) => metadata.uid!));
      this.#reconciler.retain(uids);
      await sweepOrphans(this.#children, uids, log).catch((error: unknown) =>
        log.warn({ err: error }, "orphan sweep failed"),
      );
    }
  }
}
