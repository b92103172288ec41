/** One scenario from start to end: auction, load, rounds of fault and recovery, verdict. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BIDDERS_AT_FIRST, type Second } from "../load/in-cluster/plan.ts";
import { randomOf } from "../load/random.ts";
import { startBystander } from "./bystander.ts";
import type { ExperimentOptions } from "./experiment-options.ts";
import { type Finding, judge, type Observed, outcomeOf } from "./hypothesis.ts";
import { judgeBids } from "./judge-bids.ts";
import { LoadJob, planOf } from "./load-job.ts";
import { failedIn, type Judged, type Round, type Window, windowOf } from "./measure.ts";
import { allIsArchived, elapsedMs, podsAreReady, restartedOf } from "./recovery.ts";
import { type Course, runRound, stepsOfRounds } from "./round.ts";
import type { Scenario } from "./scenario.ts";
import {
  type AuctionUnderTest,
  createNamespace,
  type Drain,
  drainAuction,
  removeAll,
  startAuction,
} from "./surroundings.ts";
import type { Target } from "./target.ts";
import { passTime } from "./wait-for.ts";

const WARM_UP_MS = 8_000;

export interface Report {
  readonly scenario: string;
  readonly hypothesis: string;
  readonly outcome: Judged;
  readonly findings: readonly Finding[];
  readonly startedAt: string;
  readonly cluster: string;
  readonly cores: number;
  readonly settings: Pick<
    ExperimentOptions,
    "bidsPerSecond" | "viewers" | "seed" | "durationSeconds"
  >;
  /** p99 before anything was killed; null unless a bystander is killed in the calm windows. */
  readonly undisturbedP99Ms: number | null;
  readonly rounds: readonly Round[];
  readonly counts: Observed["checked"]["counts"];
  readonly verdicts: Observed["checked"]["verdicts"];
  /** Start of the load. The seconds below count from here. */
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
  options: ExperimentOptions,
): Promise<Report> {
  const { log, keep } = options;
  const folder = mkdtempSync(join(tmpdir(), "gavel-chaos-"));
  const startedAt = new Date().toISOString();
  const cores = await target.cores();
  log(`${scenario.name}: applying the auction`);
  await createNamespace(target);
  try {
    const run = await runRounds(target, scenario, options);
    const observed = await observe(target, options, run, folder);
    const { context: cluster } = target;
    return reportOf(scenario, options, run, observed, { startedAt, cluster, cores });
  } finally {
    if (!keep) {
      await removeAll(target, (line) => log(`  ${line}`)).catch((error: Error) =>
        log(`  not removed: ${error.message}`),
      );
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The load and all rounds of an experiment. */
interface Run {
  readonly rounds: readonly Round[];
  readonly course: Course;
  readonly undisturbed: Window | null;
}

async function runRounds(
  target: Target,
  scenario: Scenario,
  options: ExperimentOptions,
): Promise<Run> {
  const { log } = options;
  const { bystander } = scenario.spec;
  const auction = await startAuction(target, options, (line) => log(`  ${line}`));
  await podsAreReady(target, auction.resource, []);
  if (bystander) await startBystander(target, options.loadImage);
  const load = await startLoad(target, auction, options);
  const undisturbed = bystander ? await calmWindow(scenario, load) : null;
  const steady = await target.pods();
  const course: Course = { auction, load, marks: [], inRounds: new Set(), steady };
  const rounds: Round[] = [];
  for await (const steps of stepsOfRounds(scenario, options, randomOf(options.seed))) {
    const n = rounds.length + 1;
    const applied = steps?.flatMap((step) => ("apply" in step ? step.apply : []));
    log(`  round ${n}${applied ? `: ${applied.join(", ")}` : ""}`);
    const round = await runRound(target, scenario, options, course, { n, steps });
    rounds.push(round);
    // An auction that did not recover cannot be judged in another round.
    if ([round.bidsBackMs, round.podsBackMs, round.archiveMs].includes(Infinity)) break;
  }
  return { rounds, course, undisturbed };
}

/** Ends the load, runs the checker, and gathers what the hypothesis is judged by. */
async function observe(
  target: Target,
  { log, keep, viewers }: ExperimentOptions,
  { rounds, course }: Run,
  folder: string,
): Promise<Observed> {
  const { auction, load, inRounds, steady } = course;
  log("  bidding ends; waiting for the last answers and the archive");
  const isFinished = await load.finish().then(
    () => true,
    (error: Error) => (log(`    ${error.message}`), false),
  );
  await elapsedMs(allIsArchived(target), log);
  const restartedAtEnd = await restartedOf(target, steady);
  const histories = await load.fetch(folder);
  log("  checking every bid");
  const checked = await judgeBids(target, auction.uid, histories, folder);
  const { seconds } = load;
  const sinceFirst = seconds.slice(seconds.findIndex((second) => inRounds.has(second)));
  const between = sinceFirst.filter((second) => !inRounds.has(second));
  if (!keep) log("  removing the auction and the load");
  return {
    rounds,
    biddersAtOnce: BIDDERS_AT_FIRST,
    viewers,
    checked,
    isFinished,
    failed: failedIn(sinceFirst),
    failedBetween: failedIn(between),
    restartedAtEnd,
    viewersBroken: sinceFirst.reduce((sum, { broken }) => sum + broken, 0),
    drain: keep ? null : await drained(target),
    watchingAtEnd: seconds.at(-1)?.watching ?? 0,
    notRecovered: seconds.reduce((sum, second) => sum + second.notRecovered, 0),
    dropped: seconds.reduce((sum, second) => sum + second.dropped, 0),
    odd: seconds.flatMap(({ odd }) => odd),
  };
}

function reportOf(
  scenario: Scenario,
  options: ExperimentOptions,
  { rounds, course, undisturbed }: Run,
  observed: Observed,
  environment: Pick<Report, "startedAt" | "cluster" | "cores">,
): Report {
  const { name, hypothesis, spec } = scenario;
  const { startedAt, cluster, cores } = environment;
  const { bidsPerSecond, viewers, seed, durationSeconds } = options;
  const findings = judge(spec.expect, observed);
  const { seconds, aheadMs } = course.load;
  const firstMs = (seconds[0]?.atMs ?? 0) - aheadMs;
  const at = (ms: number) => Math.round((ms - firstMs) / 100) / 10;
  return {
    scenario: name,
    hypothesis,
    startedAt,
    outcome: outcomeOf(findings),
    findings,
    rounds,
    cluster,
    cores,
    undisturbedP99Ms: undisturbed && undisturbed.p99Ms,
    settings: { bidsPerSecond, viewers, seed, durationSeconds },
    counts: observed.checked.counts,
    verdicts: observed.checked.verdicts.slice(0, 20),
    seriesFrom: new Date(firstMs).toISOString(),
    series: seconds.map((second) => pointOf(second, at(second.atMs - aheadMs))),
    marks: course.marks.map(({ fromMs, toMs }) => {
      return { fromSeconds: at(fromMs), toSeconds: at(toMs) };
    }),
  };
}

const drained = (target: Target): Promise<Drain> =>
  drainAuction(target).catch((error: Error) => ({ proven: null, why: error.message }));

async function startLoad(target: Target, auction: AuctionUnderTest, options: ExperimentOptions) {
  const { bidsPerSecond, viewers, seed, log, loadImage } = options;
  log(`  ${viewers} viewers, ${bidsPerSecond} bids/s`);
  const load = new LoadJob(target);
  const plan = await planOf(auction, { rates: [bidsPerSecond], stepSeconds: 1, viewers, seed });
  await load.start(plan, loadImage);
  await passTime(WARM_UP_MS);
  return load;
}

async function calmWindow({ spec }: Scenario, load: LoadJob): Promise<Window> {
  const fromMs = Date.now();
  await passTime(spec.windowSeconds * 1_000);
  return windowOf(load.between(fromMs, Date.now()));
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
