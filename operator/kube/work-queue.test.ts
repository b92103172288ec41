import fc from "fast-check";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterEach, expect, test, vi } from "vitest";
import { until } from "../../services/testing/until.ts";
import { createKubeMetrics } from "./metrics.ts";
import { DelayedKeys } from "./delayed-keys.ts";
import { type HandlerResult, WorkQueue } from "./work-queue.ts";

const log = pino({ level: "silent" });
const queues: WorkQueue[] = [];

function start(
  handle: (key: string, signal: AbortSignal) => Promise<HandlerResult>,
  more: Partial<ConstructorParameters<typeof WorkQueue>[0]> = {},
): WorkQueue {
  const queue = new WorkQueue({ name: "test", workers: 2, handle, log, ...more });
  queues.push(queue);
  queue.start();
  return queue;
}

afterEach(async () => {
  vi.useRealTimers();
  for (const queue of queues.splice(0)) await queue.stop(100);
});

/** A handler that the test completes. */
function gate() {
  const open: {
    key: string;
    end: (result?: HandlerResult) => void;
    fail: (error: Error) => void;
  }[] = [];
  const handle = (key: string) =>
    new Promise<HandlerResult>((resolve, reject) => {
      open.push({ key, end: (result) => resolve(result), fail: reject });
    });
  return { open, handle };
}

test("a key is queued once, however often it is added", async () => {
  const { open, handle } = gate();
  const queue = start(handle, { workers: 1 });
  for (const key of ["a", "b", "b", "b"]) queue.add(key);
  await until("a is handled", () => open.length === 1);
  expect(queue.depth).toBe(1);
  open[0]!.end();
  await until("b is handled", () => open.length === 2);
  open[1]!.end();
  await until("the queue is empty", () => queue.depth === 0);
  expect(open.map(({ key }) => key)).toEqual(["a", "b"]);
});

test("one worker at a time handles a key, and a key added meanwhile is handled again", async () => {
  const { open, handle } = gate();
  const queue = start(handle);
  queue.add("a");
  await until("the key is handled", () => open.length === 1);
  queue.add("a");
  queue.add("a");
  await new Promise(setImmediate);
  expect(open.length).toBe(1);
  open[0]!.end();
  await until("the key is handled again", () => open.length === 2);
  open[1]!.end();
  await new Promise(setImmediate);
  expect([open.length, queue.depth]).toEqual([2, 0]);
});

test("as many keys are handled at the same time as there are workers", async () => {
  const { open, handle } = gate();
  const queue = start(handle, { workers: 3 });
  for (let i = 0; i < 10; i++) queue.add(`k${i}`);
  await until("three are handled", () => open.length === 3);
  await new Promise(setImmediate);
  expect([open.length, queue.depth]).toEqual([3, 7]);
  for (let i = 0; i < 10; i++) {
    await until("one more is handled", () => open[i]);
    open[i]!.end();
  }
});

test("a key that fails is retried with growing delays until it succeeds; then the delay starts again from the first value", async () => {
  const atMs: number[] = [];
  const lines: { failures: number; retryMs: number }[] = [];
  const queue = start(
    async () => {
      atMs.push(performance.now());
      if (atMs.length !== 5 && atMs.length < 7) throw new Error("not yet");
    },
    { log: pino({ level: "warn" }, { write: (line) => void lines.push(JSON.parse(line)) }) },
  );
  queue.add("a");
  await until("the key succeeded", () => atMs.length === 5);
  const gaps = atMs.slice(1).map((ms, i) => ms - atMs[i]!);
  [5, 10, 20, 40].forEach((least, i) => expect(gaps[i]).toBeGreaterThanOrEqual(least - 1));
  queue.add("a");
  await until("the key failed and succeeded again", () => atMs.length === 7);
  expect(lines.map(({ failures, retryMs }) => [failures, retryMs])).toEqual([
    [1, 5],
    [2, 10],
    [3, 20],
    [4, 40],
    [1, 5],
  ]);
});

test("a server's Retry-After is a lower limit for the delay, and results are counted", async () => {
  const registry = new Registry();
  const metrics = createKubeMetrics(registry);
  const atMs: number[] = [];
  const queue = start(
    async () => {
      atMs.push(performance.now());
      if (atMs.length === 1) throw Object.assign(new Error("slower"), { retryAfterMs: 120 });
    },
    { metrics },
  );
  queue.add("a");
  await until("the key was retried", () => atMs.length === 2);
  expect(atMs[1]! - atMs[0]!).toBeGreaterThanOrEqual(118);
  const text = await registry.metrics();
  expect(text).toContain('controller_runtime_reconcile_errors_total{controller="test"} 1');
  expect(text).toContain('controller_runtime_terminal_reconcile_errors_total{controller="test"} 0');
  expect(text).toContain('workqueue_retries_total{name="test"} 1');
  expect(text).toContain(
    'controller_runtime_reconcile_total{controller="test",result="success"} 1',
  );
  expect(text).toContain('workqueue_work_duration_seconds_count{name="test"} 2');
});

test("a delayed key is handled when it is due, and the earliest of several delays counts", async () => {
  const atMs: number[] = [];
  const queue = start(async () => void atMs.push(performance.now()));
  const beganMs = performance.now();
  queue.addAfter("a", 5_000);
  queue.addAfter("a", 60);
  queue.addAfter("a", 5_000);
  await until("the key was handled", () => atMs.length === 1);
  expect(atMs[0]! - beganMs).toBeGreaterThanOrEqual(59);
});

test("a handler may ask for a requeue after a delay", async () => {
  let times = 0;
  start(async () => (++times < 3 ? { requeueAfterMs: 5 } : undefined)).add("a");
  await until("the key was handled three times", () => times === 3);
});

test("a delay of 30 days does not loop", () => {
  vi.useFakeTimers();
  const due: string[] = [];
  const later = new DelayedKeys((key) => due.push(key));
  const days = (n: number) => n * 24 * 60 * 60_000;
  const startMs = performance.now();
  later.put("a", startMs + days(30));
  let timers = 0;
  while (due.length === 0) {
    const beforeMs = performance.now();
    vi.advanceTimersToNextTimer();
    timers++;
    expect(performance.now() - beforeMs).toBeLessThanOrEqual(days(1));
  }
  expect(due).toEqual(["a"]);
  expect(timers).toBe(30);
  expect(performance.now() - startMs).toBeCloseTo(days(30), 0);
});

test("delayed keys become due in order, each once", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 1_000 })), {
        maxLength: 300,
      }),
      (puts) => {
        vi.useFakeTimers();
        const due: string[] = [];
        const later = new DelayedKeys((key) => due.push(key));
        const nowMs = performance.now();
        const earliest = new Map<string, number>();
        for (const [key, ms] of puts) {
          later.put(String(key), nowMs + ms);
          earliest.set(String(key), Math.min(ms, earliest.get(String(key)) ?? Infinity));
        }
        expect(later.size).toBe(earliest.size);
        vi.advanceTimersByTime(1_100);
        const atMs = due.map((key) => earliest.get(key)!);
        expect(atMs).toEqual([...earliest.values()].sort((a, b) => a - b));
        later.clear();
        vi.useRealTimers();
      },
    ),
    { numRuns: 100 },
  );
});

test("a stop aborts the running handlers, waits for them, and reports whether they ended in time", async () => {
  let isAborted = false;
  const ending = start(
    (_key, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          isAborted = true;
          resolve();
        });
      }),
  );
  ending.add("a");
  await new Promise(setImmediate);
  expect(await ending.stop(1_000)).toBe(true);
  expect(isAborted).toBe(true);

  const { open, handle } = gate();
  const hanging = start(handle);
  hanging.add("a");
  await until("the key is handled", () => open.length === 1);
  expect(await hanging.stop(20)).toBe(false);
  hanging.add("b");
  hanging.addAfter("c", 1);
  open[0]!.fail(new Error("too late"));
  await new Promise(setImmediate);
  expect([hanging.depth, open.length]).toEqual([0, 1]);
});
