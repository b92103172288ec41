/**
 * A queue of keys with the semantics of client-go's workqueue. A key waits once, however often it is added, and
 * one worker at a time handles it; a key that is added meanwhile is handled again afterwards. A key that
 * failed is retried with exponential backoff.
 */
import type { Logger } from "../../services/runtime/log.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { TokenBucket } from "../../services/runtime/token-bucket.ts";
import { DelayedKeys } from "./delayed-keys.ts";
import { initialiseQueueMetrics, type KubeMetrics } from "./metrics.ts";

const FIRST_BACKOFF_MS = 5;
const MAX_BACKOFF_MS = 1_000_000;
/** A limit for all keys together: a broken dependency gets no storm of retries. */
const RETRIES_PER_SECOND = 10;
const RETRY_BURST = 100;
const METRICS_EVERY_MS = 500;

/** The result of a handler that succeeded. */
export type HandlerResult = { readonly requeueAfterMs?: number | undefined } | void;

interface WorkQueueOptions {
  /** Label of the metrics, e.g. "auction". */
  readonly name: string;
  readonly workers: number;
  /** Handles one key. An error is logged and the key is retried. @param signal aborts when the queue stops */
  readonly handle: (key: string, signal: AbortSignal) => Promise<HandlerResult>;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  /** For tests. */
  readonly firstBackoffMs?: number;
  readonly maxBackoffMs?: number;
}

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  /** Keys that wait for a worker, in order, and since when. */
  #waiting = new Map<string, number>();
  /** Keys that a worker handles now, and since when. */
  #processing = new Map<string, number>();
  /** Keys that were added while a worker handled them. */
  #again = new Set<string>();
  #failures = new Map<string, number>();
  #delayed = new DelayedKeys((key) => this.add(key));
  #retries = new TokenBucket(RETRIES_PER_SECOND, RETRY_BURST);
  #stopping = new AbortController();
  #isStarted = false;
  #running = new Set<Promise<void>>();
  #meter: NodeJS.Timeout | null = null;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    if (options.metrics) initialiseQueueMetrics(options.metrics, options.name);
  }

  /** Keys that wait for a worker. */
  get depth(): number {
    return this.#waiting.size;
  }

  /** Queues a key for the next free worker. */
  add(key: string): void {
    if (this.#stopping.signal.aborted || this.#waiting.has(key) || this.#again.has(key)) return;
    this.#options.metrics?.queueAdds.inc({ name: this.#options.name });
    if (this.#processing.has(key)) this.#again.add(key);
    else this.#waiting.set(key, performance.now());
    this.#dispatch();
  }

  /** Queues a key after a delay. If it has a delay already, the earlier one counts. */
  addAfter(key: string, ms: number): void {
    if (this.#stopping.signal.aborted) return;
    if (!(ms > 0)) this.add(key);
    else this.#delayed.put(key, performance.now() + ms);
  }

  start(): void {
    this.#isStarted = true;
    this.#meter = setInterval(() => this.#measure(), METRICS_EVERY_MS).unref();
    this.#dispatch();
  }

  /**
   * Accepts no more keys, aborts the running handlers and waits for them.
   * @returns whether all of them ended within `limitMs`
   */
  async stop(limitMs: number): Promise<boolean> {
    this.#stopping.abort();
    this.#waiting.clear();
    this.#delayed.clear();
    const waited = new AbortController();
    await Promise.race([Promise.all(this.#running), pause(limitMs, waited.signal)]);
    waited.abort();
    if (this.#meter) clearInterval(this.#meter);
    return this.#running.size === 0;
  }

  #dispatch(): void {
    if (!this.#isStarted || this.#stopping.signal.aborted) return;
    for (const [key, sinceMs] of this.#waiting) {
      if (this.#processing.size >= this.#options.workers) return;
      this.#waiting.delete(key);
      const { metrics, name } = this.#options;
      metrics?.queueSeconds.observe({ name }, (performance.now() - sinceMs) / 1_000);
      this.#processing.set(key, performance.now());
      const work = this.#work(key).finally(() => this.#running.delete(work));
      this.#running.add(work);
    }
  }

  /** Never rejects. */
  async #work(key: string): Promise<void> {
    const { handle, name, metrics } = this.#options;
    const startedMs = performance.now();
    let result: "success" | "error" | "requeue_after" = "error";
    try {
      await Promise.resolve(); // A handler never runs inside add().
      const { requeueAfterMs } = (await handle(key, this.#stopping.signal)) ?? {};
      result = requeueAfterMs === undefined ? "success" : "requeue_after";
      this.#failures.delete(key);
      if (requeueAfterMs !== undefined) this.addAfter(key, requeueAfterMs);
    } catch (error) {
      this.#failed(key, error);
    }
    const seconds = (performance.now() - startedMs) / 1_000;
    metrics?.workSeconds.observe({ name }, seconds);
    metrics?.reconcileSeconds.observe({ controller: name }, seconds);
    metrics?.reconciles.inc({ controller: name, result });
    this.#processing.delete(key);
    if (this.#again.delete(key) && !this.#stopping.signal.aborted) {
      this.#waiting.set(key, performance.now());
    }
    this.#dispatch();
  }

  #failed(key: string, error: unknown): void {
    const { log, name, metrics } = this.#options;
    if (this.#stopping.signal.aborted) {
      log.info({ err: error, key }, "reconcile aborted by shutdown");
      return;
    }
    metrics?.reconcileErrors.inc({ controller: name });
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const { firstBackoffMs = FIRST_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS } = this.#options;
    const backoffMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures, 40));
    const retryAfterMs = (error as { retryAfterMs?: number | null } | null)?.retryAfterMs ?? 0;
    const retryMs = Math.max(backoffMs, this.#retries.reserve(), retryAfterMs);
    metrics?.queueRetries.inc({ name });
    log.warn(
      { err: error, key, failures: failures + 1, retryMs },
      "reconcile failed, will be retried",
    );
    this.addAfter(key, retryMs);
  }

  #measure(): void {
    const { metrics, name } = this.#options;
    const nowMs = performance.now();
    const seconds = [...this.#processing.values()].map((sinceMs) => (nowMs - sinceMs) / 1_000);
    metrics?.queueDepth.set({ name }, this.#waiting.size);
    metrics?.unfinishedSeconds.set(
      { name },
      seconds.reduce((sum, each) => sum + each, 0),
    );
    metrics?.longestSeconds.set({ name }, Math.max(0, ...seconds));
  }
}
