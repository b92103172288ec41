/** One scenario from beginning to end: auction, load, rounds of fault and recovery, verdict. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Second } from "../load/in-cluster/plan.ts";
import { randomOf, shuffled } from "../load/random.ts";
import type { State } from "../services/archival/state.ts";
import { killBystander, startBystander } from "./bystander.ts";
import { type Finding, judge, type Observed, outcomeOf } from "./hypothesis.ts";
import { inject } from "./inject.ts";
import { judgeBids } from "./judge-bids.ts";
import { LoadJob, planOf } from "./load-job.ts";
import { bidsBackMs, type Judged, type Round, type Window, windowOf } from "./measure.ts";
import { AUCTION, type Scenario, type Step } from "./scenario.ts";
import { type AuctionUnderTest, removeAll, removeChaos, startAuction } from "./surroundings.ts";
import { metricOf, type Target } from "./target.ts";
import { passTime, Stopped, waitAgain, waitFor } from "./wait-for.ts";

const WARM_UP_MS = 8_000;
const SETTLE_MS = 4_000;
const RECOVERED_WITHIN_MS = 330_000;
const ARCHIVED_WITHIN_MS = 90_000;
const BIDDERS_AT_FIRST = 60;

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
  readonly settings: Pick<Settings, "bidsPerSecond" | "viewers" | "seed" | "durationSeconds">;
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
  try {
    say(`${scenario.name}: applying the auction`);
    const auction = await startAuction(target, settings, (line) => say(`  ${line}`));
    await podsAreReady(target, []);
    if (scenario.spec.bystander) await startBystander(target, settings.loadImage);
    const load = await startLoad(target, auction, settings);
    const marks: { fromMs: number; toMs: number }[] = [];
    const rounds: Round[] = [];
    const random = randomOf(settings.seed);
    for await (const steps of turns(scenario, settings, random)) {
      const n = rounds.length + 1;
      say(
        `  round ${n}${steps ? `: ${steps.flatMap((s) => ("apply" in s ? s.apply : [])).join(", ")}` : ""}`,
      );
      rounds.push(await runRound(target, scenario, settings, { load, marks, random, n, steps }));
    }
    say("  no more bids; waiting for the last answers and the archive");
    await load.finish();
    await elapsedMs(archived(target, await lastId(target)), say);
    const histories = await load.fetch(folder);
    say("  judging every bid");
    const verified = await judgeBids(target, auction.uid, histories, folder);
    const { seconds } = load;
    const observed: Observed = {
      ...{ rounds, biddersAtOnce: BIDDERS_AT_FIRST, viewers: settings.viewers, verified },
      watchingAtEnd: seconds.findLast(({ watching }) => watching > 0)?.watching ?? 0,
      notRecovered: seconds.reduce((sum, second) => sum + second.notRecovered, 0),
      dropped: seconds.reduce((sum, second) => sum + second.dropped, 0),
      odd: seconds.flatMap(({ odd }) => odd),
    };
    const findings = judge(scenario.spec.expect, observed);
    const firstMs = (seconds[0]?.atMs ?? 0) - load.aheadMs;
    const at = (ms: number) => Math.round((ms - firstMs) / 100) / 10;
    return {
      ...{ scenario: scenario.name, hypothesis: scenario.hypothesis, startedAt },
      ...{ outcome: outcomeOf(findings), findings, rounds, cluster: target.context },
      settings: pick(settings),
      counts: verified.counts,
      verdicts: verified.verdicts.slice(0, 20),
      seriesFrom: new Date(firstMs).toISOString(),
      series: seconds.map((second) => pointOf(second, at(second.atMs - load.aheadMs))),
      marks: marks.map(({ fromMs, toMs }) => ({ fromSeconds: at(fromMs), toSeconds: at(toMs) })),
    };
  } finally {
    waitAgain();
    if (!settings.keep) {
      say("  removing what was made");
      await removeAll(target, say);
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

const pick = ({ bidsPerSecond, viewers, seed, durationSeconds }: Settings) => ({
  ...{ bidsPerSecond, viewers, seed, durationSeconds },
});

async function startLoad(target: Target, auction: AuctionUnderTest, settings: Settings) {
  const { bidsPerSecond, viewers, seed, say, loadImage } = settings;
  say(`  ${viewers} viewers, ${bidsPerSecond} bids/s`);
  const load = new LoadJob(target);
  const plan = await planOf(auction, {
    ...{ rates: [bidsPerSecond], stepSeconds: 1, viewers, seed },
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
    const components = kills.map((step) =>
      "apply" in step ? step.apply.replace(/-killed$/, "") : "",
    );
    yield [{ kill: components as never }, ...kills];
    // A round begins with a calm window; what is missing to the share is waited for.
    const tookMs = Date.now() - beganMs;
    await passTime((tookMs * calmShare) / (1 - calmShare));
  }
}

async function runRound(
  target: Target,
  scenario: Scenario,
  settings: Settings,
  of: {
    readonly load: LoadJob;
    readonly marks: { fromMs: number; toMs: number }[];
    readonly random: () => number;
    readonly n: number;
    readonly steps: readonly Step[] | null;
  },
): Promise<Round> {
  const { load, n } = of;
  const { spec } = scenario;
  const windowMs = spec.windowSeconds * 1_000;
  await podsAreReady(target, []);
  const calmFromMs = Date.now();
  if (spec.bystander) await killBystander(target, n);
  const calmMs = windowMs * (spec.calmWindows ?? 1);
  await passTime(Math.max(0, calmFromMs + calmMs - Date.now()));
  const calm = windowsFrom(load, calmFromMs, Date.now(), windowMs);
  const unrelayedEvents = await unrelayed(target);
  const durationSeconds = settings.durationSeconds ?? spec.durationSeconds;
  const random = of.random;
  const injected = await inject(target, scenario, {
    ...{ durationSeconds, random, n },
    ...(of.steps === null ? {} : { steps: of.steps }),
  });
  const { atMs, endedMs } = injected;
  await elapsedMs(podsAreReady(target, injected.gone), settings.say);
  const podsBackMs = Math.max(0, Date.now() - endedMs);
  of.marks.push({ fromMs: atMs, toMs: Date.now() });
  const archiveMs = await elapsedMs(archived(target, await lastId(target)), settings.say);
  await passTime(Math.max(SETTLE_MS, atMs + windowMs + 1_500 - Date.now()));
  await removeChaos(target);
  const since = load.between(atMs, Date.now());
  const round: Round = {
    calm,
    faulty: windowsFrom(load, atMs, Math.max(endedMs, atMs + windowMs), windowMs),
    failed: {
      refused: since.reduce((sum, { refused }) => sum + refused, 0),
      unknown: since.reduce((sum, { unknown }) => sum + unknown, 0),
    },
    bidsBackMs: Math.round(bidsBackMs(since, endedMs, load.aheadMs)),
    ...{ podsBackMs, archiveMs, unrelayedEvents, seen: injected.seen },
    viewersBroken: since.reduce((sum, { broken }) => sum + broken, 0),
    viewersBackMs: since.flatMap(({ back }) => back),
  };
  for (const line of injected.seen) settings.say(`    ${line}`);
  settings.say(`    ${summaryOf(round)}`);
  return round;
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

/** How long a wait took; one that was in vain is a finding, and the rest is judged all the same. */
async function elapsedMs(wait: Promise<void>, say: (line: string) => void): Promise<number> {
  const fromMs = Date.now();
  try {
    await wait;
  } catch (error) {
    if (error instanceof Stopped) throw error;
    say(`    ${(error as Error).message}`);
  }
  return Date.now() - fromMs;
}

/** What the sample auction runs, and one operator at least. */
const PODS = { redis: 1, nats: 1, postgres: 1, gateway: 2, broadcast: 2, archival: 1 } as const;

/** As many of each part as there should be, all ready, and none of those that were killed. */
async function podsAreReady(target: Target, gone: readonly { uid: string }[]): Promise<void> {
  await waitFor(
    "every pod is ready",
    async () => {
      const pods = await target.pods();
      const left = pods.some(({ uid }) => gone.some((one) => one.uid === uid));
      const of = (component: string) => pods.filter((pod) => pod.component === component);
      const complete = Object.entries(PODS).every(([name, count]) => of(name).length === count);
      return !left && complete && of("operator").length > 0 && pods.every(({ ready }) => ready);
    },
    RECOVERED_WITHIN_MS,
  );
}

const stateOf = async (target: Target): Promise<State> =>
  JSON.parse(
    await target.service(`${AUCTION}-archival-internal`, 9082, "/internal/v1/state"),
  ) as State;

async function lastId(target: Target): Promise<string> {
  return waitFor("the store is asked", async () => (await stateOf(target)).lastId, 60_000);
}

async function unrelayed(target: Target): Promise<number> {
  const text = await target.service(`${AUCTION}-archival-internal`, 9082, "/metrics");
  return metricOf(text, "gavel_archival_unrelayed_events");
}

/** Outbox ids are `<ms>-<n>`. */
function isAtLeast(id: string, least: string): boolean {
  const [ms, n] = id.split("-").map(Number) as [number, number];
  const [leastMs, leastN] = least.split("-").map(Number) as [number, number];
  return ms > leastMs || (ms === leastMs && n >= leastN);
}

async function archived(target: Target, id: string): Promise<void> {
  await waitFor(
    `the archive has ${id}`,
    async () => isAtLeast((await stateOf(target)).archivedId ?? "0-0", id),
    ARCHIVED_WITHIN_MS,
  );
}

function pointOf(second: Second, atSeconds: number): Point {
  const { p50Ms, p99Ms, decided, refused, unknown } = windowOf([second]);
  const orNull = (value: number) => (Number.isNaN(value) ? null : value);
  return {
    ...{ atSeconds, decided, failed: refused + unknown },
    ...{ p50Ms: orNull(p50Ms), p99Ms: orNull(p99Ms) },
    ...{ frames: second.frames, watching: second.watching },
  };
}
