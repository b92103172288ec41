/**
 * A cache of one kind that follows the API server: it lists, then watches, and starts again if the watch
 * breaks, falls silent or is refused. It emits only keys. The objects that it returns are shared and must
 * not be changed.
 */
import { fullJitterMs } from "../../services/runtime/breaker.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { isApiError } from "./api-error.ts";
import type { Cluster, Page, WatchEvent } from "./client.ts";
import { keyOf, type KubernetesObject, type ServedKind } from "./object.ts";
import { initialiseWatchMetrics, type KubeMetrics, type WatchRestartReason } from "./metrics.ts";
import { ObjectCache } from "./object-cache.ts";

interface ReflectorTiming {
  /** How long the server keeps a watch open, plus up to a fifth. */
  readonly watchSeconds: number;
  /** Bookmarks come every minute: after a longer silence the connection is dead. */
  readonly idleMs: number;
  readonly firstBackoffMs: number;
  readonly maxBackoffMs: number;
  /** How often a list is compared with the cache, plus or minus a fifth. */
  readonly relistMs: number;
  /** How long the watch may lag behind a list. */
  readonly graceMs: number;
}

const TIMING: ReflectorTiming = {
  watchSeconds: 290,
  idleMs: 90_000,
  firstBackoffMs: 800,
  maxBackoffMs: 30_000,
  relistMs: 10 * 60_000,
  graceMs: 5_000,
};

/** After a watch that lasted this long, the backoff starts anew. */
const GOOD_AFTER_MS = 1_000;
/** The least pause between two attempts after a failure, whatever the jitter. */
const LEAST_PAUSE_MS = 20;

export interface ReflectorOptions<T extends KubernetesObject> {
  readonly cluster: Pick<Cluster, "on">;
  readonly kind: ServedKind;
  /** Default: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  /** Labels that `byLabel` accepts. */
  readonly indexLabels?: readonly string[];
  /** The queue keys that a change of an object concerns. Called with its old and its new state. Default: its own key. */
  readonly keysOf?: (object: Readonly<T>) => readonly string[];
  readonly emit: (key: string) => void;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  readonly timing?: Partial<ReflectorTiming>;
}

export class Reflector<T extends KubernetesObject> {
  readonly #options: ReflectorOptions<T>;
  readonly #timing: ReflectorTiming;
  readonly #resource: string;
  readonly #cache: ObjectCache<T>;
  readonly #lists: Cluster;
  readonly #watches: Cluster;
  #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  /** The version of the cache; empty: it must be listed. */
  #resourceVersion = "";
  #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #receivedAtMs = performance.now();
  /** While a list is compared: the keys of events since. */
  #changedMeanwhile: Set<string> | null = null;
  /** Aborts the current watch, so that another starts. */
  #rewatch = new AbortController();

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#resource = options.kind.plural;
    this.#cache = new ObjectCache(options.indexLabels ?? []);
    this.#lists = options.cluster.on("api");
    this.#watches = options.cluster.on("watch");
    if (options.metrics) initialiseWatchMetrics(options.metrics, this.#resource);
  }

  start(): void {
    const { signal } = this.#stopping;
    this.#running = Promise.all([this.#follow(signal), this.#comparePeriodically(signal)]);
  }

  /** Ends the watch. The cache keeps its objects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#rewatch.abort();
    await this.#running;
  }

  /** Whether the first list is in the cache. */
  get synced(): boolean {
    return this.#isSynced;
  }

  /** @throws Error if the first list does not arrive within `timeoutMs` */
  async whenSynced(timeoutMs: number): Promise<void> {
    const waited = new AbortController();
    await Promise.race([this.#synced.promise, pause(timeoutMs, waited.signal)]);
    waited.abort();
    if (!this.#isSynced) throw new Error(`no list of ${this.#resource} within ${timeoutMs} ms`);
  }

  /** Time since the API server last sent anything for this kind, bookmarks included. */
  get silentMs(): number {
    return performance.now() - this.#receivedAtMs;
  }

  get(key: string): Readonly<T> | undefined {
    return this.#cache.get(key);
  }

  all(): Readonly<T>[] {
    return this.#cache.all();
  }

  /** @throws Error for a label that is not in `indexLabels` */
  byLabel(label: string, value: string): Readonly<T>[] {
    return this.#cache.byLabel(label, value);
  }

  /** Never rejects, never gives up. */
  async #follow(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      let reason: WatchRestartReason;
      let retryAfterMs = 0;
      let watchedSinceMs = Infinity;
      try {
        if (this.#resourceVersion === "") await this.#relist(signal);
        watchedSinceMs = performance.now();
        await this.#watchOnce(signal);
        reason = this.#rewatch.signal.aborted ? "missed" : "ended";
      } catch (error) {
        if (signal.aborted) return;
        reason = reasonOf(error);
        if (reason === "expired") this.#resourceVersion = "";
        retryAfterMs = (isApiError(error) ? error.retryAfterMs : null) ?? 0;
        const level = reason === "expired" || reason === "idle" ? "info" : "warn";
        this.#options.log[level](
          { err: error, resource: this.#resource, reason },
          "watch interrupted",
        );
      }
      if (signal.aborted) return;
      const { watchRestarts } = this.#options.metrics ?? {};
      watchRestarts?.inc({ resource: this.#resource, reason });
      const wasGood = performance.now() - watchedSinceMs >= GOOD_AFTER_MS;
      if (wasGood) failures = 0;
      // A watch that ended in order is started again at once, unless it ended immediately.
      const isOrderly = reason === "ended" || reason === "expired" || reason === "missed";
      if (isOrderly && failures === 0) {
        if (!wasGood) failures = 1;
        continue;
      }
      const { firstBackoffMs, maxBackoffMs } = this.#timing;
      const backoffMs = fullJitterMs(firstBackoffMs, maxBackoffMs, failures++);
      await pause(Math.max(LEAST_PAUSE_MS, backoffMs, retryAfterMs), signal);
    }
  }

  /** Replaces the cache by a new list, and emits the keys of what differs. */
  async #relist(signal: AbortSignal): Promise<void> {
    const { items, resourceVersion } = await this.#list(signal);
    this.#changedMeanwhile = null;
    for (const object of this.#cache.replace(items)) this.#emit(object);
    this.#resourceVersion = resourceVersion;
    if (this.#isSynced) return;
    this.#isSynced = true;
    this.#synced.resolve();
    this.#options.metrics?.synced.set({ resource: this.#resource }, 1);
  }

  async #list(signal: AbortSignal): Promise<{ items: Map<string, T>; resourceVersion: string }> {
    const items = new Map<string, T>();
    let resourceVersion: string;
    let next: string | null = null;
    do {
      const page: Page<T> = await this.#lists.listPage<T>(
        this.#options.kind,
        { ...this.#options, signal },
        next,
      );
      for (const object of page.items) items.set(keyOf(object), withoutManagedFields(object));
      ({ resourceVersion, next } = page);
      this.#received();
    } while (next !== null);
    return { items, resourceVersion };
  }

  /** Returns when the server or `#rewatch` ends the watch. */
  async #watchOnce(signal: AbortSignal): Promise<void> {
    this.#rewatch = new AbortController();
    const { watchSeconds, idleMs } = this.#timing;
    const events = this.#watches.watch<T>(
      this.#options.kind,
      { ...this.#options, signal: AbortSignal.any([signal, this.#rewatch.signal]) },
      {
        resourceVersion: this.#resourceVersion,
        timeoutSeconds: Math.round(watchSeconds * (1 + Math.random() / 5)),
        idleMs,
      },
    );
    try {
      for await (const event of events) this.#take(event);
    } catch (error) {
      if (!this.#rewatch.signal.aborted) throw error;
    }
  }

  #take({ type, object }: WatchEvent<T>): void {
    this.#received();
    const { resourceVersion } = object.metadata;
    if (resourceVersion) this.#resourceVersion = resourceVersion;
    if (type === "BOOKMARK") return;
    const key = keyOf(object);
    this.#changedMeanwhile?.add(key);
    const before = this.#cache.get(key);
    if (type === "DELETED") this.#cache.delete(key);
    else this.#cache.set(key, withoutManagedFields(object));
    if (before) this.#emit(before);
    this.#emit(object);
  }

  /** Compares the cache with a list from time to time, to find events that the watch missed. Never rejects. */
  async #comparePeriodically(signal: AbortSignal): Promise<void> {
    const { relistMs } = this.#timing;
    while (!signal.aborted) {
      await pause(relistMs * (0.8 + Math.random() * 0.4), signal);
      if (signal.aborted || this.#resourceVersion === "") continue;
      try {
        await this.#compare(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log.warn({ err: error, resource: this.#resource }, "cache comparison failed");
      }
    }
  }

  async #compare(signal: AbortSignal): Promise<void> {
    const changed = (this.#changedMeanwhile = new Set());
    const { items, resourceVersion } = await this.#list(signal);
    if (this.#cache.differences(items).length > 0) await pause(this.#timing.graceMs, signal);
    // If the cache was listed again meanwhile, it is newer than this list.
    if (signal.aborted || changed !== this.#changedMeanwhile) return;
    this.#changedMeanwhile = null;
    // An object that the watch changed meanwhile may be newer than the list, too.
    const missed = this.#cache.differences(items).filter((key) => !changed.has(key));
    if (missed.length === 0) return;
    this.#options.metrics?.missedEvents.inc({ resource: this.#resource }, missed.length);
    const keys = missed.slice(0, 10);
    this.#options.log.error({ resource: this.#resource, keys }, "watch missed changes");
    for (const key of missed) {
      const before = this.#cache.get(key);
      const object = items.get(key);
      if (object) this.#cache.set(key, object);
      else this.#cache.delete(key);
      if (before) this.#emit(before);
      if (object) this.#emit(object);
    }
    // This watch is unreliable: another one starts from the version of the list.
    this.#resourceVersion = resourceVersion;
    this.#rewatch.abort();
  }

  #received(): void {
    this.#receivedAtMs = performance.now();
    this.#options.metrics?.lastEventSeconds.set({ resource: this.#resource }, Date.now() / 1_000);
  }

  #emit(object: Readonly<T>): void {
    const { keysOf = (own: Readonly<T>) => [keyOf(own)], emit, log } = this.#options;
    try {
      for (const key of keysOf(object)) emit(key);
    } catch (error) {
      log.error({ err: error, object: keyOf(object) }, "change not emitted");
    }
  }
}

function withoutManagedFields<T extends KubernetesObject>(object: T): T {
  // They are half of a small object, and nothing reads them.
  delete object.metadata.managedFields;
  return object;
}

function reasonOf(error: unknown): WatchRestartReason {
  if (isApiError(error, "gone")) return "expired";
  if (isApiError(error, "throttled")) return "throttled";
  if (isApiError(error, "unauthorized")) return "unauthorized";
  if (isApiError(error, "timeout") && error.reason === "Idle") return "idle";
  if (isApiError(error) && error.status !== null) return "refused";
  return "reset";
}
