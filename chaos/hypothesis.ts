/** Whether a scenario's hypothesis held, point by point. Pure. */
import type { Counts } from "../services/lot/audit/audit.ts";
import { judgeP99, type Judged, percentile, type Round, type Window } from "./measure.ts";
import type { Expect } from "./scenario.ts";

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
  /** Bidders who could be in flight on one process at once. */
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
const VIEWERS_P95_MS = 3_000;
const VIEWERS_P99_MS = 5_000;
/** What a lost tail makes of what was acknowledged and shown before it. */
const OF_A_LOST_TAIL = ["lost", "moved", "altered", "answers_differ", "no_such_event"];
const AND_ITS_SIGHT = ["viewer_phantom", "viewer_altered", "wrong_read", "stale"];

export function judge(expect: Expect, observed: Observed): Finding[] {
  return [
    calmBefore(observed),
    ...judgeBids(expect, observed),
    ...(expect.steadyP99 ? [steadyP99(observed)] : []),
    ...judgeRecovery(expect, observed),
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
  const { rounds, biddersAtOnce, dropped, odd, verified } = observed;
  const unknown = most(rounds.map(({ failed }) => failed.unknown));
  const refused = most(rounds.map(({ failed }) => failed.refused));
  const told = `at most ${unknown} of unknown fate and ${refused} refused in a round, each tried again`;
  const findings: Finding[] = [];
  if (failedBids === "none") {
    findings.push(finding("no bid fails", unknown + refused === 0, told));
  } else if (failedBids === "in-flight") {
    const why = `${told}; ${biddersAtOnce} bidders`;
    findings.push(finding("only what was in flight fails", unknown <= biddersAtOnce, why));
  }
  if (bidsWithinSeconds !== undefined) {
    const seconds = most(rounds.map((round) => round.bidsBackMs)) / 1_000;
    const why = `${seconds.toFixed(1)} s, at most ${bidsWithinSeconds} s`;
    findings.push(finding("bids resume", seconds <= bidsWithinSeconds, why));
  }
  const { unresolved, resolved } = verified.counts.unknown;
  findings.push(
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

function judgeRecovery(
  { podsWithinSeconds, archiveWithinSeconds }: Expect,
  { rounds }: Observed,
): Finding[] {
  const within = (what: string, ms: readonly number[], seconds: number): Finding => {
    const worst = most(ms) / 1_000;
    return finding(what, worst <= seconds, `${worst.toFixed(1)} s, at most ${seconds} s`);
  };
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

function judgeViewers({ viewers, lost }: Expect, observed: Observed): Finding[] {
  const { rounds, watchingAtEnd, notRecovered } = observed;
  if (viewers === "any") return [];
  const broken = rounds.reduce((sum, { viewersBroken }) => sum + viewersBroken, 0);
  const all = finding(
    "every viewer watches at the end",
    watchingAtEnd === observed.viewers,
    `${watchingAtEnd} of ${observed.viewers}`,
  );
  if (viewers === "undisturbed") {
    return [all, finding("no viewer loses its socket", broken === 0, `${broken} did`)];
  }
  const back = rounds.flatMap(({ viewersBackMs }) => viewersBackMs);
  const [p95, p99] = [percentile(back, 0.95), percentile(back, 0.99)];
  const told = `${back.length} of ${broken} came back, p95 ${p95} ms, p99 ${p99} ms`;
  const holds =
    broken > 0 && back.length >= broken && p95 <= VIEWERS_P95_MS && p99 <= VIEWERS_P99_MS;
  return [
    all,
    finding("viewers come back, p95 ≤ 3 s and p99 ≤ 5 s", holds, told),
    ...(lost === "nothing"
      ? [finding("all resume event by event", notRecovered === 0, `${notRecovered} did not`)]
      : []),
  ];
}

function judgeRecord({ lost }: Expect, { rounds, verified }: Observed): Finding[] {
  const { counts, verdicts } = verified;
  const tail = lost === "window" ? [...OF_A_LOST_TAIL, ...AND_ITS_SIGHT] : [];
  const others = verdicts.filter(({ verdict }) => !tail.includes(verdict));
  const names = [...new Set(others.map(({ verdict }) => verdict))];
  const summary = `${counts.acknowledged} acknowledged, lost ${counts.lost}, duplicated ${counts.duplicated}, misordered ${counts.misordered}; ${counts.viewersComplete} of ${counts.viewers} viewers complete`;
  const findings = [
    finding(
      "the checker finds every bid and frame right",
      others.length === 0 && counts.acknowledged > 0,
      names.length === 0 ? summary : `${summary}; ${names.join(", ")}: ${others[0]!.detail}`,
    ),
  ];
  if (lost === "window") {
    const window = rounds.reduce((sum, { unrelayedEvents }) => sum + unrelayedEvents, 0);
    const why = `${counts.lost} acknowledged bids lost; the metric had shown ${window} events not relayed`;
    findings.push(finding("no more is lost than the metric showed", counts.lost <= window, why));
  }
  return findings;
}
