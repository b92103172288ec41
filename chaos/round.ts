/** One round of an experiment: a calm window, the fault, and the recovery from it. */
import type { Second } from "../load/in-cluster/plan.ts";
import { shuffled } from "../load/random.ts";
import { killBystander } from "./bystander.ts";
import type { ExperimentOptions } from "./experiment-options.ts";
import { inject, type Injected } from "./inject.ts";
import type { LoadJob } from "./load-job.ts";
import { bidsBackMs, failedIn, type Round, type Window, windowOf } from "./measure.ts";
import {
  allIsArchived,
  allIsQuiet,
  elapsedMs,
  epochNow,
  podsAreReady,
  restartedOf,
  unrelayedEvents,
} from "./recovery.ts";
import { componentOf, type Scenario, type Step } from "./scenario.ts";
import { type AuctionUnderTest, removeChaos } from "./surroundings.ts";
import type { Pod, Target } from "./target.ts";
import { passTime } from "./wait-for.ts";

/** The steps of each round; null: the steps of the scenario. */
export async function* stepsOfRounds(
  { spec, objects }: Scenario,
  options: ExperimentOptions,
  random: () => number,
): AsyncGenerator<readonly Step[] | null> {
  if (spec.random === undefined) {
    for (let n = 0; n < (options.rounds ?? spec.rounds); n++) yield null;
    return;
  }
  const { calmShare, atOnceMax } = spec.random;
  const startedMs = Date.now();
  const untilMs = startedMs + (options.durationSeconds ?? 3_600) * 1_000;
  while (Date.now() < untilMs) {
    const some = shuffled(objects, random).slice(0, 1 + Math.floor(random() * atOnceMax));
    const names = some.map(({ metadata }) => metadata.name);
    const kills = names.flatMap((name) =>
      spec.steps.filter((s) => "apply" in s && s.apply === name),
    );
    const beganMs = Date.now();
    const components = some.map(({ spec: { selector } }) => componentOf(selector)!);
    yield [{ kill: components }, ...kills];
    // A round begins with a calm window. Wait for the rest of the calm share.
    const tookMs = Date.now() - beganMs;
    await passTime((tookMs * calmShare) / (1 - calmShare));
  }
}

/** The state that all rounds of an experiment share. */
export interface Course {
  readonly auction: AuctionUnderTest;
  readonly load: LoadJob;
  /** From each fault until every pod was ready. */
  readonly marks: { fromMs: number; toMs: number }[];
  /** Seconds that belong to a round. */
  readonly inRounds: Set<Second>;
  /** The pods at the end of the last round. */
  steady: readonly Pod[];
}

/** Calm window, fault, recovery. */
export async function runRound(
  target: Target,
  scenario: Scenario,
  options: ExperimentOptions,
  course: Course,
  { n, steps }: { readonly n: number; readonly steps: readonly Step[] | null },
): Promise<Round> {
  const { load } = course;
  const windowMs = scenario.spec.windowSeconds * 1_000;
  const calm = await measureCalm(target, scenario, course, n);
  const before = { epoch: await epochNow(target), unrelayed: await unrelayedEvents(target) };
  const restartedInCalm = await restartedOf(target, course.steady);
  const injected = await inject(target, scenario, {
    durationSeconds: options.durationSeconds ?? scenario.spec.durationSeconds,
    n,
    steps: steps ?? scenario.spec.steps,
  });
  const { atMs, endedMs } = injected;
  const recovery = await awaitRecovery(target, options, course, injected);
  await passTime(Math.max(0, atMs + windowMs + 1_500 - Date.now()));
  const checks = await injected.checks();
  await removeChaos(target);
  // Includes the second in which the fault was injected.
  const since = load.between(atMs - 500, Date.now());
  for (const second of since) course.inRounds.add(second);
  const round: Round = {
    calm,
    faulty: windowsFrom(load, atMs, Math.max(endedMs, atMs + windowMs), windowMs),
    failed: failedIn(since),
    bidsBackMs: recovery.isQuiet ? Math.round(bidsBackMs(since, endedMs, load.aheadMs)) : Infinity,
    podsBackMs: recovery.podsBackMs,
    archiveMs: recovery.archiveMs,
    checks,
    seen: recovery.seen,
    unrelayedEvents: before.unrelayed,
    epochs: [before.epoch, recovery.podsBackMs < Infinity ? await epochNow(target) : NaN],
    restarted: [...restartedInCalm, ...(await restartedOf(target, injected.untouched))],
    viewersBroken: since.reduce((sum, { broken }) => sum + broken, 0),
    viewersBackMs: since.flatMap(({ back }) => back),
  };
  course.steady = await target.pods();
  for (const line of recovery.seen) options.log(`    ${line}`);
  options.log(`    ${summaryOf(round)}`);
  return round;
}

/** The calm windows before the fault. Kills the bystander in them where the scenario has one. */
async function measureCalm(
  target: Target,
  { spec }: Scenario,
  { auction, load }: Course,
  n: number,
): Promise<Window[]> {
  const windowMs = spec.windowSeconds * 1_000;
  await podsAreReady(target, auction.resource, []);
  const fromMs = Date.now();
  const isWiped = spec.steps.some((step) => "wipe" in step);
  if (spec.bystander) await killBystander(target, n, isWiped);
  const calmMs = windowMs * (spec.calmWindows ?? 1);
  await passTime(Math.max(0, fromMs + calmMs - Date.now()));
  return windowsFrom(load, fromMs, Date.now(), windowMs);
}

/** Waits for pods, archive, bidders and viewers, in this order. Infinity: they did not recover in time. */
async function awaitRecovery(
  target: Target,
  { viewers, log }: ExperimentOptions,
  { auction, load, marks }: Course,
  injected: Injected,
) {
  const { atMs, endedMs } = injected;
  const ready = podsAreReady(target, auction.resource, injected.gone);
  const isReady = (await elapsedMs(ready, log)) < Infinity;
  const podsBackMs = isReady ? Math.max(0, Date.now() - endedMs) : Infinity;
  marks.push({ fromMs: atMs, toMs: Date.now() });
  const archiveMs = await elapsedMs(allIsArchived(target), log);
  const seen = [...injected.seen, ...(isReady ? await injected.provenAfterwards() : [])];
  const isQuiet = (await elapsedMs(allIsQuiet(load, viewers), log)) < Infinity;
  return { podsBackMs, archiveMs, seen, isQuiet };
}

function windowsFrom(load: LoadJob, fromMs: number, toMs: number, windowMs: number): Window[] {
  const windows: Window[] = [];
  for (let at = fromMs; at + windowMs <= toMs + 1; at += windowMs) {
    windows.push(windowOf(load.between(at, at + windowMs)));
  }
  return windows;
}

function summaryOf({ calm, faulty, failed, bidsBackMs, podsBackMs, archiveMs, ...round }: Round) {
  const p99s = (windows: readonly Window[]) => windows.map(({ p99Ms }) => p99Ms).join(", ");
  return [
    `${calm[0]?.decidedPerSecond} bids/s, p99 ${p99s(calm)} ms in calm, ${p99s(faulty)} ms with the fault`,
    `${failed.unknown} unknown, ${failed.refused} refused, bids back after ${bidsBackMs} ms`,
    `pods after ${podsBackMs} ms, archive ${archiveMs} ms later`,
    `${round.viewersBackMs.length} of ${round.viewersBroken} viewers back`,
  ].join("; ");
}
