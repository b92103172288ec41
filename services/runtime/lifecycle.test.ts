import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { createInternalServer, createRegistry } from "./internal.ts";
import { Lifecycle, pause, Wake } from "./lifecycle.ts";
import { createLog } from "./log.ts";

test("what was started last is stopped first, and a stop that fails does not stop the others", async () => {
  const lifecycle = new Lifecycle(createLog("test", "silent"));
  const stopped: string[] = [];
  lifecycle.onStop("first", () => stopped.push("first"));
  lifecycle.onStop("second", () => Promise.reject(new Error("stuck")));
  lifecycle.onStop("third", () => stopped.push("third"));
  expect(lifecycle.draining).toBe(false);
  await Promise.all([lifecycle.stop(), lifecycle.stop()]);
  expect(lifecycle.draining).toBe(true);
  expect(stopped).toEqual(["third", "first"]);
});

test("every call of stop resolves when everything has stopped", async () => {
  const lifecycle = new Lifecycle(createLog("test", "silent"));
  const drained = new Wake();
  let isDrained = false;
  lifecycle.onStop("work", () => drained.wait().then(() => (isDrained = true)));
  const first = lifecycle.stop();
  const second = lifecycle.stop().then(() => expect(isDrained).toBe(true));
  drained.wake();
  await Promise.all([first, second]);
});

test("a wait that has ended leaves no listener on its signal", async () => {
  const { signal } = new AbortController();
  const room = new Wake();
  for (let i = 0; i < 3; i++) {
    const waits = room.wait(signal);
    room.wake();
    await waits;
    await pause(0, signal);
  }
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a pause ends at once when it is aborted", async () => {
  const abort = new AbortController();
  const paused = pause(60_000, abort.signal);
  abort.abort();
  await paused;
  await pause(60_000, abort.signal);
});

test("the internal port says whether the process lives, whether it is ready and why not", async () => {
  let ready = false;
  const health = { ready: () => Promise.resolve(ready ? { ready } : { ready, why: "no redis" }) };
  const app = createInternalServer(health, createRegistry("test"));
  expect((await app.inject("/livez")).statusCode).toBe(200);
  const before = await app.inject("/readyz");
  expect([before.statusCode, before.json()]).toEqual([
    503,
    { status: "not ready", why: "no redis" },
  ]);
  ready = true;
  expect((await app.inject("/readyz")).statusCode).toBe(200);
  expect((await app.inject("/metrics")).body).toContain('process_cpu_seconds_total{tier="test"}');
});
