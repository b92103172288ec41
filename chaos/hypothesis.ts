/** Whether a scenario's hypothesis held, point by point. Pure. */
import type { Counts } from "../services/lot/checker/checker.ts";
import type { VerdictName } from "../services/lot/checker/verdicts.ts";
import {
  type Failed,
  judgeP99,
  type Judged,
  percentile,
  type Round,
  type Window,
} from "./measure.ts";
import type { Expect } from "./scenario.ts";
import type { Drain } from "./surroundings.ts";

export interface Finding {
  readonly what: string;
  readonly judged: Judged;
  /** What was measured, and what was allowed. */
  readonly why: string;
}

/** What the checker said, of `gavel verify --json`. */
export interface Verified {
  readonly counts: Counts;
  readonly verdicts: readonly { verdict: string; lotId: string; detail: string }[];
}

export interface Observed {
  readonly rounds: readonly Round[];
  /** Whether every bid had its answer in the end. Where not, the histories lack the last of it. */
  readonly isFinished: boolean;
  /** From the first fault to the end. */
  readonly failed: Failed;
  /** Of these what was in no round: before the next fault, when all should be well. */
  readonly failedBetween: Failed;
  readonly viewersBroken: number;
  /** Pods that restarted after the last round. */
  readonly restartedAtEnd: readonly string[];
  /** Null where the auction stays. */
  readonly drain: Drain | null;
  /** Bidders who could be in flight on one process at once, each with one bid. */
  readonly biddersAtOnce: number;
  readonly viewers: number;
  readonly watchingAtEnd: number;
  /** Lots that a viewer could not resume event by event. */
  readonly notRecovered: number;
  readonly dropped: number;
  readonly odd: readonly string[];
  readonly verified: Verified;
}

const CALM = "before the first fault nothing fails";
export const VIEWERS_SOON = "viewers come back, p95 ≤ 3 s and p99 ≤ 5 s";
const VIEWERS_P95_MS = 3_000;
const VIEWERS_P99_MS = 5_000;
/** What a lost tail makes of what was acknowledged and shown before it. */
const OF_A_LOST_TAIL: readonly VerdictName[] = [
  "lost",
  "moved",
  "altered",
  "answers_differ",
  "no_such_event",
];
const AND_ITS_SIGHT: readonly VerdictName[] = [
  "viewer_phantom",
  "viewer_altered",
  "wrong_read",
  "stale",
];

export function judge(expect: Expect, observed: Observed): Finding[] {
  return [
    calmBefore(observed),
    ...judgeBids(expect, observed),
    ...(expect.steadyP99 ? [steadyP99(observed)] : []),
    ...judgeRecovery(expect, observed),
    ...judgeSurroundings(observed),
    ...judgeViewers(expect, observed),
    ...judgeRecord(expect, observed),
  ];
}

/** What the checker and the record say counts on any machine, however noisy. */
const ALWAYS: readonly string[] = [
  "every bid of unknown fate is resolved by its key",
  "the checker finds every bid and frame right",
  "no more is lost than the metric showed",
];

/** held only where all is; broken where anything is, and not judged where there was no calm to break. */
export function outcomeOf(findings: readonly Finding[]): Judged {
  const isNoisy = findings.some(({ what, judged }) => what === CALM && judged === "not judged");
  const counted = isNoisy ? findings.filter(({ what }) => ALWAYS.includes(what)) : findings;
  if (isNoisy) return counted.some(({ judged }) => judged === "broken") ? "broken" : "not judged";
  if (findings.some(({ judged }) => judged === "broken")) return "broken";
  if (findings.some(({ judged }) => judged === "not judged")) return "not judged";
  return "held";
}

const finding = (what: string, holds: boolean, why: string): Finding => ({
  what,
  judged: holds ? "held" : "broken",
  why,
});

/**
 * Without a fault nothing may fail: where it does, the cluster cannot bear the load, and what fails later
 * tells nothing of the fault. Only what was seen before the first fault counts: later it may be its work.
 */
function calmBefore({ rounds }: Observed): Finding {
  const calm = rounds[0]?.calm ?? [];
  const sum = (of: (window: Window) => number) => calm.reduce((all, one) => all + of(one), 0);
  const failed = sum(({ refused, unknown }) => refused + unknown);
  const viewersBroken = sum((window) => window.viewersBroken);
  const isCalm = calm.length > 0 && failed + viewersBroken === 0;
  return {
    what: CALM,
    judged: isCalm ? "held" : "not judged",
    why: `${failed} attempts failed, ${viewersBroken} viewers lost their socket`,
  };
}

const most = (values: readonly number[]) => Math.max(0, ...values);

function judgeBids({ failedBids, bidsWithinSeconds }: Expect, observed: Observed): Finding[] {
  const { rounds, failed, failedBetween, biddersAtOnce, isFinished } = observed;
  const { dropped, odd, verified } = observed;
  const unknown = most(rounds.map((round) => round.failed.unknown));
  const refused = most(rounds.map((round) => round.failed.refused));
  const told = `at most ${unknown} of unknown fate and ${refused} refused in a round, each tried again`;
  const findings: Finding[] = [];
  if (failedBids === "none") {
    const why = `${failed.unknown} of unknown fate and ${failed.refused} refused, from the first fault to the end`;
    findings.push(finding("no bid fails", failed.unknown + failed.refused === 0, why));
  } else {
    const between = failedBetween.unknown + failedBetween.refused;
    const why = `${failed.unknown + failed.refused} attempts failed from the first fault to the end, ${between} of them when all should have been well`;
    findings.push(finding("no bid fails once all is well", between === 0, why));
  }
  if (failedBids === "in-flight" || failedBids === "in-flight-sockets") {
    const why = `${told}; ${biddersAtOnce} bidders, a bid each`;
    findings.push(finding("only what was in flight fails", unknown <= biddersAtOnce, why));
  }
  if (failedBids === "in-flight-sockets") {
    const why = `${failed.overHttp} attempts over HTTP failed`;
    findings.push(finding("no bid over HTTP fails", failed.overHttp === 0, why));
  }
  if (bidsWithinSeconds !== undefined) {
    const back = rounds.map((round) => round.bidsBackMs);
    findings.push(within("bids resume", back, bidsWithinSeconds));
  }
  const { unresolved, resolved } = verified.counts.unknown;
  findings.push(
    finding("every bid has its answer in the end", isFinished, isFinished ? "all have" : "not all"),
    finding(
      "every bid of unknown fate is resolved by its key",
      unresolved === 0,
      `${resolved} were, ${unresolved} were not`,
    ),
    finding(
      "every bid that was due was placed, and answered as documented",
      dropped === 0 && odd.length === 0,
      `${dropped} were not placed; ${odd.length} odd answers ${odd.slice(0, 3).join(", ")}`,
    ),
  );
  return findings;
}

function steadyP99({ rounds }: Observed): Finding {
  const calm = rounds.flatMap((round) => round.calm.map(({ p99Ms }) => p99Ms));
  const faulty = rounds.flatMap((round) => round.faulty.map(({ p99Ms }) => p99Ms));
  return { what: "the p99 of bids is that of calm", ...judgeP99(calm, faulty) };
}

function within(what: string, ms: readonly number[], seconds: number): Finding {
  const worst = most(ms) / 1_000;
  const told = worst === Infinity ? "not while it was waited for" : `${worst.toFixed(1)} s`;
  return finding(what, worst <= seconds, `${told}, at most ${seconds} s`);
}

function judgeRecovery(
  { podsWithinSeconds, archiveWithinSeconds }: Expect,
  { rounds }: Observed,
): Finding[] {
  return [
    within(
      "all pods are ready again",
      rounds.map(({ podsBackMs }) => podsBackMs),
      podsWithinSeconds,
    ),
    within(
      "the archive has all that was acknowledged",
      rounds.map(({ archiveMs }) => archiveMs),
      archiveWithinSeconds,
    ),
  ];
}

/** What was left alone stays as it is; what else looks at the auction finds it well. */
function judgeSurroundings({ rounds, restartedAtEnd, drain }: Observed): Finding[] {
  const restarted = [...rounds.flatMap((round) => round.restarted), ...restartedAtEnd];
  const checks = rounds.flatMap((round) => round.checks);
  const said = checks.map(({ name, why }) => `${name}: ${why}`).join("; ");
  return [
    finding(
      "no other pod restarts",
      restarted.length === 0,
      restarted.length === 0 ? "none did" : restarted.join(", "),
    ),
    ...(checks.length === 0
      ? []
      : [
          finding(
            "Chaos Mesh's own check passes",
            checks.every((one) => one.passed),
            said,
          ),
        ]),
    ...(drain === null
      ? []
      : [
          {
            what: "the operator's drain proves the archive",
            judged: drain.proven === null ? "not judged" : drain.proven ? "held" : "broken",
            why: drain.why,
          } as const,
        ]),
  ];
}

function judgeViewers({ viewers, lost }: Expect, observed: Observed): Finding[] {
  const { rounds, viewersBroken: broken, watchingAtEnd, notRecovered } = observed;
  const all = finding(
    "every viewer watches at the end",
    watchingAtEnd === observed.viewers,
    `${watchingAtEnd} of ${observed.viewers}`,
  );
  if (viewers === "at-end") return [all];
  if (viewers === "undisturbed") {
    return [all, finding("no viewer loses its socket", broken === 0, `${broken} did`)];
  }
  const back = rounds.flatMap(({ viewersBackMs }) => viewersBackMs);
  const [p95, p99] = [percentile(back, 0.95), percentile(back, 0.99)];
  const untried = rounds.filter(({ viewersBroken }) => viewersBroken === 0).length;
  const isSoon = p95 <= VIEWERS_P95_MS && p99 <= VIEWERS_P99_MS;
  return [
    all,
    finding(
      "each round takes viewers their socket, and all come back",
      untried === 0 && back.length >= broken,
      `${back.length} of ${broken}; ${untried} rounds took nobody theirs`,
    ),
    finding(VIEWERS_SOON, isSoon, `p95 ${p95} ms, p99 ${p99} ms`),
    ...(lost === "nothing"
      ? [finding("all resume event by event", notRecovered === 0, `${notRecovered} did not`)]
      : []),
  ];
}

function judgeRecord({ lost }: Expect, observed: Observed): Finding[] {
  const { rounds, isFinished, verified, biddersAtOnce } = observed;
  const what = "the checker finds every bid and frame right";
  if (!isFinished)
    return [{ what, judged: "not judged", why: "the histories lack the last of it" }];
  const { counts, verdicts } = verified;
  const of = (names: readonly VerdictName[]) =>
    most(names.map((name) => counts.verdicts[name] ?? 0));
  const tail = lost === "window" ? [...OF_A_LOST_TAIL, ...AND_ITS_SIGHT] : [];
  const others = verdicts.filter(({ verdict }) => !tail.some((name) => name === verdict));
  const names = [...new Set(others.map(({ verdict }) => verdict))];
  const summary = `${counts.acknowledged} acknowledged, lost ${counts.lost}, duplicated ${counts.duplicated}, misordered ${counts.misordered}; ${counts.viewersComplete} of ${counts.viewers} viewers complete`;
  const findings = [
    finding(
      what,
      others.length === 0 && counts.acknowledged > 0,
      names.length === 0 ? summary : `${summary}; ${names.join(", ")}: ${others[0]!.detail}`,
    ),
  ];
  if (lost === "window") {
    const window = rounds.reduce((sum, { unrelayedEvents }) => sum + unrelayedEvents, 0);
    const [bids, sights] = [of(OF_A_LOST_TAIL), of(AND_ITS_SIGHT)];
    const why = `${counts.lost} acknowledged bids lost, ${bids} of any verdict on them and ${sights} of what was seen of them; the metric had shown ${window} events not relayed`;
    const holds = bids <= window && sights <= window * (counts.viewers + biddersAtOnce);
    findings.push(finding("no more is lost than the metric showed", holds, why));
    const epochs = rounds.map((round) => round.epochs.join(" to ")).join(", ");
    const rose = rounds.every((round) => round.epochs[1] > round.epochs[0]);
    findings.push(finding("the epoch rises, which tells viewers", rose, epochs));
  }
  return findings;
}
