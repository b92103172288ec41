/**
 * A queue of keys with the semantics of client-go: a key waits once however often it is added, is worked
 * by one worker at a time, and what is added meanwhile is worked once more afterwards. What failed comes
 * back later and later; what is due at some time comes back then.
 */
import type { Logger } from "../../services/runtime/log.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { initialiseQueueMetrics, type KubeMetrics } from "./metrics.ts";

const FIRST_BACKOFF_MS = 5;
const MAX_BACKOFF_MS = 1_000_000;
/** Of all retries together, so that a broken dependency is not hammered key by key. */
const RETRIES_PER_SECOND = 10;
const RETRY_BURST = 100;
/** A timer beyond 2^31 - 1 ms fires at once: an auction that opens in 30 days would spin. */
const TIMER_MAX_MS = 24 * 60 * 60_000;
const METRICS_EVERY_MS = 500;
/** Overtaken entries that the heap may hold beyond as many again as there are keys. */
const SLACK = 64;

/** Thrown by a handler where another try is pointless before something changes: counted, logged, not repeated. */
export class TerminalError extends Error {
  override readonly name = "TerminalError";
}

/** What a handler says of a key that is as it should be: nothing, or when to look again. */
export type Handled = { readonly requeueAfterMs?: number | undefined } | void;

export interface WorkQueueOptions {
  /** Label of the metrics, e.g. "auction". */
  readonly name: string;
  readonly workers: number;
  /** Works one key. Whatever it throws is logged and tried again. @param signal aborts when the queue stops */
  readonly handle: (key: string, signal: AbortSignal) => Promise<Handled>;
  readonly log: Logger;
  readonly metrics?: KubeMetrics | undefined;
  /** For tests. */
  readonly firstBackoffMs?: number;
  readonly maxBackoffMs?: number;
}

export class WorkQueue {
  readonly #options: WorkQueueOptions;
  /** Waiting for a worker, in order; the values are since when. */
  #waiting = new Map<string, number>();
  /** Being worked; the values are since when. */
  #processing = new Map<string, number>();
  /** Added while being worked. */
  #again = new Set<string>();
  #failures = new Map<string, number>();
  #later = new Later((key) => this.add(key));
  #bucket = new TokenBucket(RETRIES_PER_SECOND, RETRY_BURST);
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

  /** To be worked as soon as a worker is free. */
  add(key: string): void {
    if (this.#stopping.signal.aborted || this.#waiting.has(key) || this.#again.has(key)) return;
    this.#options.metrics?.queueAdds.inc({ name: this.#options.name });
    if (this.#processing.has(key)) this.#again.add(key);
    else this.#waiting.set(key, performance.now());
    this.#dispatch();
  }

  /** To be worked in so many ms; of several times for one key the earliest counts. */
  addAfter(key: string, ms: number): void {
    if (this.#stopping.signal.aborted) return;
    if (!(ms > 0)) this.add(key);
    else this.#later.put(key, performance.now() + ms);
  }

  /** Its failures no longer count, and what was due later is not. For a key whose object is gone. */
  forget(key: string): void {
    this.#failures.delete(key);
    this.#later.drop(key);
  }

  start(): void {
    this.#isStarted = true;
    this.#meter = setInterval(() => this.#measure(), METRICS_EVERY_MS).unref();
    this.#dispatch();
  }

  /**
   * Takes no more, tells what runs to stop, and waits for it.
   * @returns whether all of it ended within `limitMs`
   */
  async stop(limitMs: number): Promise<boolean> {
    this.#stopping.abort();
    this.#waiting.clear();
    this.#later.clear();
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
      await Promise.resolve(); // A handler runs in a turn of its own, never inside add().
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
      log.info({ err: error, key }, "stopped in the middle");
      return;
    }
    metrics?.reconcileErrors.inc({ controller: name });
    if (error instanceof TerminalError) {
      metrics?.terminalErrors.inc({ controller: name });
      this.#failures.delete(key);
      log.error({ err: error, key }, "failed, and is not tried again before something changes");
      return;
    }
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const { firstBackoffMs = FIRST_BACKOFF_MS, maxBackoffMs = MAX_BACKOFF_MS } = this.#options;
    const backoffMs = Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(failures, 40));
    const asked = (error as { retryAfterMs?: number | null } | null)?.retryAfterMs ?? 0;
    const retryMs = Math.max(backoffMs, this.#bucket.reserve(), asked);
    metrics?.queueRetries.inc({ name });
    log.warn({ err: error, key, failures: failures + 1, retryMs }, "failed, is tried again");
    this.addAfter(key, retryMs);
  }

  #measure(): void {
    const { metrics, name } = this.#options;
    const nowMs = performance.now();
    const seconds = [...this.#processing.values()].map((sinceMs) => (nowMs - sinceMs) / 1_000);
    metrics?.queueDepth.set({ name }, this.#waiting.size);
    metrics?.unfinishedSeconds.set(
      { name },
      seconds.reduce((sum, one) => sum + one, 0),
    );
    metrics?.longestSeconds.set({ name }, Math.max(0, ...seconds));
  }
}

/** Keys that are due at some time: a binary heap, and one timer for the first of them. */
export class Later {
  readonly #onDue: (key: string) => void;
  #due = new Map<string, number>();
  /** May hold entries that `#due` has overtaken; they are passed over. */
  #heap: { key: string; atMs: number }[] = [];
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = Infinity;

  constructor(onDue: (key: string) => void) {
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#due.size;
  }

  /** @param atMs on the clock of performance.now(); a later time than the key already has changes nothing */
  put(key: string, atMs: number): void {
    if (atMs >= (this.#due.get(key) ?? Infinity)) return;
    this.#due.set(key, atMs);
    push(this.#heap, { key, atMs });
    if (this.#heap.length > 2 * this.#due.size + SLACK) this.#compact();
    this.#arm();
  }

  drop(key: string): void {
    this.#due.delete(key);
  }

  clear(): void {
    this.#due.clear();
    this.#heap = [];
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#timerAtMs = Infinity;
  }

  #compact(): void {
    this.#heap = [];
    for (const [key, atMs] of this.#due) push(this.#heap, { key, atMs });
  }

  #arm(): void {
    const first = this.#heap[0];
    if (!first || this.#timerAtMs <= first.atMs) return;
    if (this.#timer) clearTimeout(this.#timer);
    const waitMs = Math.min(TIMER_MAX_MS, Math.max(1, Math.ceil(first.atMs - performance.now())));
    this.#timerAtMs = first.atMs;
    this.#timer = setTimeout(() => this.#fire(), waitMs);
  }

  #fire(): void {
    this.#timer = null;
    this.#timerAtMs = Infinity;
    const nowMs = performance.now();
    for (let first = this.#heap[0]; first && first.atMs <= nowMs; first = this.#heap[0]) {
      pop(this.#heap);
      if (this.#due.get(first.key) !== first.atMs) continue;
      this.#due.delete(first.key);
      this.#onDue(first.key);
    }
    this.#arm();
  }
}

interface Due {
  readonly key: string;
  readonly atMs: number;
}

function push(heap: Due[], entry: Due): void {
  let at = heap.push(entry) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent]!.atMs <= entry.atMs) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = entry;
}

function pop(heap: Due[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.atMs < heap[child]!.atMs) child++;
    if (heap[child]!.atMs >= last.atMs) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
}

/** So many a second on average, so many at once. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, burst: number, nowMs: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#nowMs = nowMs;
    this.#tokens = burst;
    this.#atMs = nowMs();
  }

  /** Takes one, if need be one of the future. @returns how long until it is there, in ms */
  reserve(): number {
    const nowMs = this.#nowMs();
    const grown = this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, grown) - 1;
    this.#atMs = nowMs;
    return Math.max(0, (-this.#tokens / this.#perSecond) * 1_000);
  }
}
