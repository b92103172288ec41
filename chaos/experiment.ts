/** One scenario from beginning to end: auction, load, rounds of fault and recovery, verdict. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BIDDERS_AT_FIRST, type Second } from "../load/in-cluster/plan.ts";
import { randomOf, shuffled } from "../load/random.ts";
import { killBystander, startBystander } from "./bystander.ts";
import { type Finding, judge, type Observed, outcomeOf } from "./hypothesis.ts";
import { inject } from "./inject.ts";
import { judgeBids } from "./judge-bids.ts";
import { LoadJob, planOf } from "./load-job.ts";
import { bidsBackMs, failedIn, type Judged, type Round, type Window, windowOf } from "./measure.ts";
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
import {
  type AuctionUnderTest,
  createNamespace,
  type Drain,
  drainAuction,
  removeAll,
  removeChaos,
  startAuction,
} from "./surroundings.ts";
import type { Pod, Target } from "./target.ts";
import { passTime } from "./wait-for.ts";

const WARM_UP_MS = 8_000;

export interface Settings {
  readonly loadImage: string;
  readonly tierImage: string | undefined;
  readonly bidsPerSecond: number;
  readonly viewers: number;
  readonly seed: number;
  /** Stands in for the scenario's duration, and for how long a random one goes on. */
  readonly durationSeconds: number | undefined;
  /** Stands in for the scenario's. */
  readonly rounds: number | undefined;
  /** Leave everything as it is at the end. */
  readonly keep: boolean;
  readonly say: (line: string) => void;
}

export interface Report {
  readonly scenario: string;
  readonly hypothesis: string;
  readonly outcome: Judged;
  readonly findings: readonly Finding[];
  readonly startedAt: string;
  readonly cluster: string;
  readonly cores: number;
  readonly settings: Pick<Settings, "bidsPerSecond" | "viewers" | "seed" | "durationSeconds">;
  /** p99 before anything was killed, where a bystander is killed in the calm windows. */
  readonly undisturbedP99Ms: number | null;
  readonly rounds: readonly Round[];
  readonly counts: Observed["verified"]["counts"];
  readonly verdicts: Observed["verified"]["verdicts"];
  /** The load's start, from which the seconds below count. */
  readonly seriesFrom: string;
  readonly series: readonly Point[];
  readonly marks: readonly { readonly fromSeconds: number; readonly toSeconds: number }[];
}

export interface Point {
  readonly atSeconds: number;
  readonly decided: number;
  readonly failed: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly frames: number;
  readonly watching: number;
}

export async function experiment(
  target: Target,
  scenario: Scenario,
  settings: Settings,
): Promise<Report> {
  const { say } = settings;
  const folder = mkdtempSync(join(tmpdir(), "gavel-chaos-"));
  const startedAt = new Date().toISOString();
  const cores = await target.cores();
  say(`${scenario.name}: applying the auction`);
  await createNamespace(target);
  try {
    const auction = await startAuction(target, settings, (line) => say(`  ${line}`));
    await podsAreReady(target, auction.resource, []);
    if (scenario.spec.bystander) await startBystander(target, settings.loadImage);
    const load = await startLoad(target, auction, settings);
    const undisturbed = scenario.spec.bystander ? await calmWindow(scenario, load) : null;
    const rounds: Round[] = [];
    const course: Course = {
      auction,
      load,
      marks: [],
      inRounds: new Set(),
      steady: await target.pods(),
    };
    const random = randomOf(settings.seed);
    for await (const steps of turns(scenario, settings, random)) {
      const n = rounds.length + 1;
      say(
        `  round ${n}${steps ? `: ${steps.flatMap((s) => ("apply" in s ? s.apply : [])).join(", ")}` : ""}`,
      );
      const round = await runRound(target, scenario, settings, { course, n, steps });
      rounds.push(round);
      const waits = [round.bidsBackMs, round.podsBackMs, round.archiveMs];
      if (waits.includes(Infinity)) break; // What is not well cannot be broken again.
    }
    say("  no more bids; waiting for the last answers and the archive");
    const isFinished = await load.finish().then(
      () => true,
      (error: Error) => (say(`    ${error.message}`), false),
    );
    await elapsedMs(allIsArchived(target), say);
    const restartedAtEnd = await restartedOf(target, course.steady);
    const histories = await load.fetch(folder);
    say("  judging every bid");
    const verified = await judgeBids(target, auction.uid, histories, folder);
    const { seconds } = load;
    const { inRounds, marks } = course;
    const sinceFirst = seconds.slice(seconds.findIndex((second) => inRounds.has(second)));
    const between = sinceFirst.filter((second) => !inRounds.has(second));
    if (!settings.keep) say("  removing what was made");
    const observed: Observed = {
      rounds,
      biddersAtOnce: BIDDERS_AT_FIRST,
      viewers: settings.viewers,
      verified,
      isFinished,
      failed: failedIn(sinceFirst),
      failedBetween: failedIn(between),
      restartedAtEnd,
      viewersBroken: sinceFirst.reduce((sum, { broken }) => sum + broken, 0),
      drain: settings.keep ? null : await drained(target),
      watchingAtEnd: seconds.at(-1)?.watching ?? 0,
      notRecovered: seconds.reduce((sum, second) => sum + second.notRecovered, 0),
      dropped: seconds.reduce((sum, second) => sum + second.dropped, 0),
      odd: seconds.flatMap(({ odd }) => odd),
    };
    const findings = judge(scenario.spec.expect, observed);
    const firstMs = (seconds[0]?.atMs ?? 0) - load.aheadMs;
    const at = (ms: number) => Math.round((ms - firstMs) / 100) / 10;
    return {
      scenario: scenario.name,
      hypothesis: scenario.hypothesis,
      startedAt,
      outcome: outcomeOf(findings),
      findings,
      rounds,
      cluster: target.context,
      cores,
      undisturbedP99Ms: undisturbed && undisturbed.p99Ms,
      settings: pick(settings),
      counts: verified.counts,
      verdicts: verified.verdicts.slice(0, 20),
      seriesFrom: new Date(firstMs).toISOString(),
      series: seconds.map((second) => pointOf(second, at(second.atMs - load.aheadMs))),
      marks: marks.map(({ fromMs, toMs }) => ({ fromSeconds: at(fromMs), toSeconds: at(toMs) })),
    };
  } finally {
    if (!settings.keep) {
      await removeAll(target, (line) => say(`  ${line}`)).catch((error: Error) =>
        say(`  not removed: ${error.message}`),
      );
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

const drained = (target: Target): Promise<Drain> =>
  drainAuction(target).catch((error: Error) => ({ proven: null, why: error.message }));

const pick = ({ bidsPerSecond, viewers, seed, durationSeconds }: Settings) => ({
  bidsPerSecond,
  viewers,
  seed,
  durationSeconds,
});

async function startLoad(target: Target, auction: AuctionUnderTest, settings: Settings) {
  const { bidsPerSecond, viewers, seed, say, loadImage } = settings;
  say(`  ${viewers} viewers, ${bidsPerSecond} bids/s`);
  const load = new LoadJob(target);
  const plan = await planOf(auction, {
    rates: [bidsPerSecond],
    stepSeconds: 1,
    viewers,
    seed,
  });
  await load.start(plan, loadImage);
  await passTime(WARM_UP_MS);
  return load;
}

/** Each round's steps; null: those of the scenario. */
async function* turns(
  { spec, objects }: Scenario,
  settings: Settings,
  random: () => number,
): AsyncGenerator<readonly Step[] | null> {
  if (spec.random === undefined) {
    for (let n = 0; n < (settings.rounds ?? spec.rounds); n++) yield null;
    return;
  }
  const { calmShare, atOnceMax } = spec.random;
  const startedMs = Date.now();
  const untilMs = startedMs + (settings.durationSeconds ?? 3_600) * 1_000;
  while (Date.now() < untilMs) {
    const some = shuffled(objects, random).slice(0, 1 + Math.floor(random() * atOnceMax));
    const names = some.map(({ metadata }) => metadata.name);
    const kills = names.flatMap((name) =>
      spec.steps.filter((s) => "apply" in s && s.apply === name),
    );
    const beganMs = Date.now();
    const components = some.map(({ spec: { selector } }) => componentOf(selector)!);
    yield [{ kill: components }, ...kills];
    // A round begins with a calm window; what is missing to the share is waited for.
    const tookMs = Date.now() - beganMs;
    await passTime((tookMs * calmShare) / (1 - calmShare));
  }
}

/** What all rounds share. */
interface Course {
  readonly auction: AuctionUnderTest;
  readonly load: LoadJob;
  /** From each fault until every pod was ready. */
  readonly marks: { fromMs: number; toMs: number }[];
  /** Seconds that some round has accounted for. */
  readonly inRounds: Set<Second>;
  /** The pods at the end of the last round. */
  steady: readonly Pod[];
}

async function runRound(
  target: Target,
  scenario: Scenario,
  settings: Settings,
  of: { readonly course: Course; readonly n: number; readonly steps: readonly Step[] | null },
): Promise<Round> {
  const { course, n } = of;
  const { auction, load } = course;
  const { spec } = scenario;
  const windowMs = spec.windowSeconds * 1_000;
  await podsAreReady(target, auction.resource, []);
  const calmFromMs = Date.now();
  const isWiped = spec.steps.some((step) => "wipe" in step);
  if (spec.bystander) await killBystander(target, n, isWiped);
  const calmMs = windowMs * (spec.calmWindows ?? 1);
  await passTime(Math.max(0, calmFromMs + calmMs - Date.now()));
  const calm = windowsFrom(load, calmFromMs, Date.now(), windowMs);
  const before = { epoch: await epochNow(target), unrelayed: await unrelayedEvents(target) };
  const restartedInCalm = await restartedOf(target, course.steady);
  const durationSeconds = settings.durationSeconds ?? spec.durationSeconds;
  const injected = await inject(target, scenario, {
    durationSeconds,
    n,
    ...(of.steps === null ? {} : { steps: of.steps }),
  });
  const { atMs, endedMs } = injected;
  const ready = podsAreReady(target, auction.resource, injected.gone);
  const isReady = (await elapsedMs(ready, settings.say)) < Infinity;
  const podsBackMs = isReady ? Math.max(0, Date.now() - endedMs) : Infinity;
  course.marks.push({ fromMs: atMs, toMs: Date.now() });
  const archiveMs = await elapsedMs(allIsArchived(target), settings.say);
  const seen = [...injected.seen, ...(isReady ? await injected.provenAfterwards() : [])];
  const quiet = allIsQuiet(load, settings.viewers);
  const isQuiet = (await elapsedMs(quiet, settings.say)) < Infinity;
  await passTime(Math.max(0, atMs + windowMs + 1_500 - Date.now()));
  const checks = await injected.checks();
  await removeChaos(target);
  // With the second that the fault fell into.
  const since = load.between(atMs - 500, Date.now());
  for (const second of since) course.inRounds.add(second);
  const round: Round = {
    calm,
    faulty: windowsFrom(load, atMs, Math.max(endedMs, atMs + windowMs), windowMs),
    failed: failedIn(since),
    bidsBackMs: isQuiet ? Math.round(bidsBackMs(since, endedMs, load.aheadMs)) : Infinity,
    podsBackMs,
    archiveMs,
    checks,
    seen,
    unrelayedEvents: before.unrelayed,
    epochs: [before.epoch, isReady ? await epochNow(target) : NaN],
    restarted: [...restartedInCalm, ...(await restartedOf(target, injected.untouched))],
    viewersBroken: since.reduce((sum, { broken }) => sum + broken, 0),
    viewersBackMs: since.flatMap(({ back }) => back),
  };
  course.steady = await target.pods();
  for (const line of seen) settings.say(`    ${line}`);
  settings.say(`    ${summaryOf(round)}`);
  return round;
}

async function calmWindow({ spec }: Scenario, load: LoadJob): Promise<Window> {
  const fromMs = Date.now();
  await passTime(spec.windowSeconds * 1_000);
  return windowOf(load.between(fromMs, Date.now()));
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

function pointOf(second: Second, atSeconds: number): Point {
  const { p50Ms, p99Ms, decided, refused, unknown } = windowOf([second]);
  const orNull = (value: number) => (Number.isNaN(value) ? null : value);
  return {
    atSeconds,
    decided,
    failed: refused + unknown,
    p50Ms: orNull(p50Ms),
    p99Ms: orNull(p99Ms),
    frames: second.frames,
    watching: second.watching,
  };
}
