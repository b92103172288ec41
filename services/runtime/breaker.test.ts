import { expect, test } from "vitest";
import {
  Breaker,
  BreakerOpen,
  type BreakerState,
  fullJitterMs,
  registerBreakerGauge,
} from "./breaker.ts";
import { createRegistry } from "./internal.ts";

function breakerAt(random = 0.5) {
  const clock = { ms: 0 };
  const states: BreakerState[] = [];
  const breaker = new Breaker({
    failures: 3,
    waitMs: 100,
    waitMaxMs: 1_000,
    isOutage: (error) => !(error instanceof TypeError),
    nowMs: () => clock.ms,
    random: () => random,
    onChange: (state) => states.push(state),
  });
  return { breaker, clock, states };
}
const fail = (breaker: Breaker, times: number) => {
  for (let i = 0; i < times; i++) breaker.failed();
};

test("failures in a row open it; an answer in between begins the row anew", () => {
  const { breaker, states } = breakerAt();
  fail(breaker, 2);
  breaker.succeeded();
  fail(breaker, 2);
  expect(breaker.admits()).toBe(true);
  breaker.failed();
  expect([breaker.state, breaker.admits(), breaker.waitMs]).toEqual(["open", false, 50]);
  expect(states).toEqual(["open"]);
});

test("after its wait one caller is let through, and the others only once that one was answered", () => {
  const { breaker, clock, states } = breakerAt();
  fail(breaker, 3);
  clock.ms = 49;
  expect(breaker.admits()).toBe(false);
  clock.ms = 50;
  expect([breaker.admits(), breaker.admits(), breaker.admits()]).toEqual([true, false, false]);
  breaker.succeeded();
  expect([breaker.admits(), breaker.admits()]).toEqual([true, true]);
  expect(states).toEqual(["open", "half_open", "closed"]);
});

test("each probe that fails doubles the wait, up to its limit; success forgets it", () => {
  const { breaker, clock } = breakerAt(0.999_999);
  const waits: number[] = [];
  fail(breaker, 3);
  for (let i = 0; i < 6; i++) {
    waits.push(Math.round(breaker.waitMs));
    clock.ms += breaker.waitMs;
    expect(breaker.admits()).toBe(true);
    breaker.failed();
  }
  expect(waits).toEqual([100, 200, 400, 800, 1_000, 1_000]);
  clock.ms += breaker.waitMs;
  breaker.admits();
  breaker.succeeded();
  fail(breaker, 3);
  expect(Math.round(breaker.waitMs)).toBe(100);
});

test("what was asked before it opened neither closes it nor moves its probe when it ends after", () => {
  const { breaker, clock } = breakerAt();
  fail(breaker, 3);
  clock.ms = 20;
  fail(breaker, 5);
  expect(breaker.waitMs).toBe(30);
  breaker.succeeded();
  expect(breaker.state).toBe("open");
});

test("calls are made, counted, and not made", async () => {
  const { breaker, clock } = breakerAt();
  const broken = () => Promise.reject(new Error("hung"));
  for (let i = 0; i < 3; i++) await expect(breaker.call(broken)).rejects.toThrow("hung");
  let made = 0;
  const work = () => Promise.resolve(++made);
  await expect(breaker.call(work)).rejects.toThrow(BreakerOpen);
  expect(made).toBe(0);
  clock.ms = 50;
  const probing = breaker.call(() => new Promise((done) => setImmediate(done)));
  await expect(breaker.call(work)).rejects.toThrow(BreakerOpen);
  await probing;
  expect(await breaker.call(work)).toBe(1);
});

test("a thousand that failed together come back spread over the whole wait", () => {
  const waits = Array.from({ length: 1_000 }, () => fullJitterMs(100, 1_000, 20));
  expect(Math.max(...waits)).toBeLessThan(1_000);
  for (let tenth = 0; tenth < 10; tenth++) {
    const here = waits.filter((ms) => Math.floor(ms / 100) === tenth).length;
    expect(here).toBeGreaterThan(50);
    expect(here).toBeLessThan(200);
  }
});

test("the state of each is a metric", async () => {
  const registry = createRegistry("test");
  const { breaker } = breakerAt();
  registerBreakerGauge(registry, "gavel_test_", { redis: breaker });
  expect(await registry.metrics()).toContain(
    'gavel_test_breaker_state{dependency="redis",tier="test"} 0',
  );
  fail(breaker, 3);
  expect(await registry.metrics()).toContain('breaker_state{dependency="redis",tier="test"} 2');
});

test("a defect of the caller does not open it, and ends a probe as a failure", async () => {
  const { breaker, clock } = breakerAt();
  const defect = () => Promise.reject(new TypeError("x is not a function"));
  for (let i = 0; i < 5; i++) await expect(breaker.call(defect)).rejects.toThrow(TypeError);
  expect(breaker.state).toBe("closed");
  fail(breaker, 3);
  clock.ms += 1_000;
  await expect(breaker.call(defect)).rejects.toThrow(TypeError);
  expect(breaker.state).toBe("open");
});
