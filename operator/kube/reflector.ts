/**
 * A cache of one kind that follows the API server: lists, then watches, and begins anew where the watch
 * breaks, falls silent or is refused. It emits keys and nothing else: the work is the queue's. Objects
 * that it hands out are shared and must not be changed.
 */
import { fullJitterMs } from "../../services/runtime/breaker.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import type { Logger } from "../../services/runtime/log.ts";
import { isApiError } from "./api-error.ts";
import type { Cluster, Page, WatchEvent } from "./client.ts";
import { keyOf, type KubernetesObject, type ServedKind } from "./object.ts";
import { initialiseWatchMetrics, type KubeMetrics, type WatchRestartReason } from "./metrics.ts";
import { ObjectCache } from "./object-cache.ts";

export interface ReflectorTiming {
  /** A watch ends by itself after this, and up to a fifth more. */
  readonly watchSeconds: number;
  /** Bookmarks come every minute: a longer silence means that the connection is dead. */
  readonly idleMs: number;
  readonly firstBackoffMs: number;
  readonly maxBackoffMs: number;
  /** How often a list looks whether the watch missed something, give or take a fifth. */
  readonly relistMs: number;
  /** How long the watch may take to tell what a list already shows. */
  readonly graceMs: number;
}

export const TIMING: ReflectorTiming = {
  watchSeconds: 290,
  idleMs: 90_000,
  firstBackoffMs: 800,
  maxBackoffMs: 30_000,
  relistMs: 10 * 60_000,
  graceMs: 5_000,
};

/** A watch that lived for so long was a good one: the next failure counts as the first. */
const GOOD_AFTER_MS = 1_000;
/** Between any two attempts after a failure, whatever the jitter says. */
const LEAST_PAUSE_MS = 20;

export interface ReflectorOptions<T extends KubernetesObject> {
  readonly cluster: Pick<Cluster, "on">;
  readonly kind: ServedKind;
  /** Without it: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  /** Labels that `byLabel` may be asked for. */
  readonly indexLabels?: readonly string[];
  /** The queue keys that an object means; its own where it is not said. Asked of its old state and its new one. */
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
  /** What the cache is as of; empty: it must be listed. */
  #resourceVersion = "";
  #synced = Promise.withResolvers<void>();
  #isSynced = false;
  #heardAtMs = performance.now();
  /** While a list is compared: the keys that the watch told of. */
  #told: Set<string> | null = null;
  /** Ends the watch of the moment, so that another begins. */
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
    this.#running = Promise.all([this.#follow(signal), this.#compareNowAndThen(signal)]);
  }

  /** Ends the watch. The cache stays as it is. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#rewatch.abort();
    await this.#running;
  }

  /** Whether the cache holds what the API server listed, once at least. */
  get synced(): boolean {
    return this.#isSynced;
  }

  /** @throws Error where the first list has not come within `timeoutMs` */
  async whenSynced(timeoutMs: number): Promise<void> {
    const waited = new AbortController();
    await Promise.race([this.#synced.promise, pause(timeoutMs, waited.signal)]);
    waited.abort();
    if (!this.#isSynced) throw new Error(`no list of ${this.#resource} within ${timeoutMs} ms`);
  }

  /** How long since the API server said anything of this kind, bookmarks included. */
  get silentMs(): number {
    return performance.now() - this.#heardAtMs;
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
        this.#options.log[level]({ err: error, resource: this.#resource, reason }, "watch broke");
      }
      if (signal.aborted) return;
      const { watchRestarts } = this.#options.metrics ?? {};
      watchRestarts?.inc({ resource: this.#resource, reason });
      const wasGood = performance.now() - watchedSinceMs >= GOOD_AFTER_MS;
      if (wasGood) failures = 0;
      // What ends as it should is begun anew at once; what ends at once, as it should or not, is not.
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

  /** Puts what is there now in the place of the whole cache, and emits what differs. */
  async #relist(signal: AbortSignal): Promise<void> {
    const { items, resourceVersion } = await this.#list(signal);
    this.#told = null;
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
      this.#heard();
    } while (next !== null);
    return { items, resourceVersion };
  }

  /** Until the server ends it, or `#rewatch`. */
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
    this.#heard();
    const { resourceVersion } = object.metadata;
    if (resourceVersion) this.#resourceVersion = resourceVersion;
    if (type === "BOOKMARK") return;
    const key = keyOf(object);
    this.#told?.add(key);
    const before = this.#cache.get(key);
    if (type === "DELETED") this.#cache.delete(key);
    else this.#cache.set(key, withoutManagedFields(object));
    if (before) this.#emit(before);
    this.#emit(object);
  }

  /** Looks with a list, from time to time, whether the watch has told everything. Never rejects. */
  async #compareNowAndThen(signal: AbortSignal): Promise<void> {
    const { relistMs } = this.#timing;
    while (!signal.aborted) {
      await pause(relistMs * (0.8 + Math.random() * 0.4), signal);
      if (signal.aborted || this.#resourceVersion === "") continue;
      try {
        await this.#compare(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log.warn({ err: error, resource: this.#resource }, "could not compare");
      }
    }
  }

  async #compare(signal: AbortSignal): Promise<void> {
    const told = (this.#told = new Set());
    const { items, resourceVersion } = await this.#list(signal);
    if (this.#cache.differences(items).length > 0) await pause(this.#timing.graceMs, signal);
    // A cache that was listed anew meanwhile is newer than this list.
    if (signal.aborted || told !== this.#told) return;
    this.#told = null;
    // What the watch told meanwhile may be newer than the list, too.
    const missed = this.#cache.differences(items).filter((key) => !told.has(key));
    if (missed.length === 0) return;
    this.#options.metrics?.missedEvents.inc({ resource: this.#resource }, missed.length);
    const keys = missed.slice(0, 10);
    this.#options.log.error({ resource: this.#resource, keys }, "the watch missed changes");
    for (const key of missed) {
      const before = this.#cache.get(key);
      const object = items.get(key);
      if (object) this.#cache.set(key, object);
      else this.#cache.delete(key);
      if (before) this.#emit(before);
      if (object) this.#emit(object);
    }
    // This watch is not to be trusted; the next tells all that came after the list.
    this.#resourceVersion = resourceVersion;
    this.#rewatch.abort();
  }

  #heard(): void {
    this.#heardAtMs = performance.now();
    this.#options.metrics?.lastEventSeconds.set({ resource: this.#resource }, Date.now() / 1_000);
  }

  #emit(object: Readonly<T>): void {
    const { keysOf = (own: Readonly<T>) => [keyOf(own)], emit, log } = this.#options;
    try {
      for (const key of keysOf(object)) emit(key);
    } catch (error) {
      log.error({ err: error, object: keyOf(object) }, "a change was not passed on");
    }
  }
}

function withoutManagedFields<T extends KubernetesObject>(object: T): T {
  // They are half of a small object, and nobody reads them here.
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
