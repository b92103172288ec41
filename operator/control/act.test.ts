import { pino } from "pino";
import { expect, test } from "vitest";
import { ApiError, classifyAnswer } from "../kube/api-error.ts";
import type { AnyObject } from "../kube/object.ts";
import { NOW_MS, observation, state, statusFacts } from "../testing/observation.ts";
import { StandInArchival } from "../testing/stand-in.ts";
import { act, type ActDependencies } from "./act.ts";
import type { Action, Plan } from "./action.ts";
import type { Observation } from "./observation.ts";
import { desiredRules } from "./plan-inputs.ts";

const planOf = (...actions: Action[]): Plan => ({
  actions,
  status: statusFacts(),
  requeueAfterMs: null,
});
const DEFINITION = desiredRules(observation()).definition!;
const publish = (thenOpen = false): Action => ({
  type: "publish-rules",
  definition: DEFINITION,
  rulesHash: "hash-2",
  thenOpen,
});
const applied: Action = { type: "apply", objects: [], dryRun: false };
const WRITE: Action = { type: "write-status" };

/** Dependencies that record their calls. */
function fixture({ applyFails = null as unknown } = {}) {
  const archival = new StandInArchival();
  archival.define(DEFINITION);
  const statuses: AnyObject[] = [];
  const done: string[] = [];
  const dependencies = {
    cluster: {
      applyStatus: async (object: AnyObject) => {
        done.push("status");
        statuses.push(object);
        return object;
      },
      remove: async () => done.push("remove"),
    },
    children: {
      apply: async () => {
        done.push("apply");
        if (applyFails !== null) throw applyFails;
      },
      prune: async () => void done.push("prune"),
    },
    secrets: { forget: () => {} },
    events: { record: () => {} },
    metrics: {},
    log: pino({ level: "silent" }),
    archivalFor: () => archival,
  } as unknown as ActDependencies;
  const run = (plan: Plan, observed: Observation = observation()) =>
    act(dependencies, observed, plan);
  const written = () => statuses.at(-1)!["status"];
  return { archival, done, run, written };
}

const apiError = (code: number, reason: string) =>
  new ApiError(
    "PATCH",
    classifyAnswer(code, JSON.stringify({ kind: "Status", reason, message: reason })),
  );

test("the status is written although an apply failed, and the failure is returned", async () => {
  const failure = apiError(500, "InternalError");
  const { done, run, archival } = fixture({ applyFails: failure });
  const outcome = await run(planOf(applied, { type: "fence" }, WRITE));
  expect(outcome.failure).toBe(failure);
  expect(done).toEqual(["apply", "status"]);
  expect(archival.calls).toEqual(["fence"]);
  expect(outcome.memory.statusWrittenAtMs).toBe(NOW_MS);
});

test("an object that the API server refuses is an obstacle in the status, not a failure", async () => {
  const { run, written } = fixture({ applyFails: apiError(422, "Invalid") });
  const outcome = await run(planOf(applied, WRITE));
  expect(outcome.failure).toBeNull();
  expect(written().conditions).toContainEqual(
    expect.objectContaining({ type: "Stalled", reason: "ApplyRefused" }),
  );
});

test("in a drain a refusal is ignored, and another failure ends the plan", async () => {
  const plan = planOf({ type: "apply-for-drain", objects: [] }, { type: "fence" });
  const ignored = fixture({ applyFails: apiError(403, "Forbidden") });
  expect((await ignored.run(plan)).failure).toBeNull();
  expect(ignored.archival.calls).toEqual(["fence"]);
  const failed = fixture({ applyFails: apiError(500, "InternalError") });
  expect((await failed.run(plan)).failure).not.toBeNull();
  expect(failed.archival.calls).toEqual([]);
});

test("published rules are in the status at once, and the auction opens if it is due", async () => {
  const { run, written, archival } = fixture();
  const outcome = await run(planOf(publish(true), WRITE));
  expect(archival.calls).toEqual(["rules", "open"]);
  expect(written().rules.publishedHash).toBe("hash-2");
  expect(outcome.memory.probe.state?.rulesHash).toBe("hash-2");
});

test("a refusal of rules is remembered, and the auction does not open", async () => {
  const { run, archival } = fixture();
  archival.refuseRules = "the auction is open";
  const outcome = await run(planOf(publish(true), WRITE));
  expect(archival.calls).toEqual(["rules"]);
  expect(outcome.memory.rulesRefusal).toEqual({ hash: "hash-2", why: "the auction is open" });
});

test("after an unanswered call no further call is made, and the status is written", async () => {
  const { run, done, archival } = fixture();
  archival.reachable = false;
  const outcome = await run(planOf({ type: "open" }, { type: "verify" }, WRITE));
  expect(outcome).toMatchObject({ failure: null, isArchivalUnavailable: true });
  expect(outcome.memory.verifyTriedAtMs).toBe(0);
  expect(done).toEqual(["status"]);
});

test("an unanswered proof counts as an attempt", async () => {
  const { run, archival } = fixture();
  archival.stuck.add("verify");
  const outcome = await run(planOf({ type: "verify" }));
  expect(outcome.memory.verifyTriedAtMs).toBe(NOW_MS);
});

test("the observed memory is not mutated, and the next reconcile gets the probe", async () => {
  const observed = observation({ probe: { state: state(), misses: 2, why: "refused" } });
  const { run } = fixture();
  const outcome = await run(planOf(publish(), { type: "verify" }, WRITE), observed);
  expect(outcome.memory.probe.misses).toBe(2);
  expect(observed.memory.verifyTriedAtMs).toBe(0);
  expect(observed.probe.state?.rulesHash).toBe("hash-1");
});
