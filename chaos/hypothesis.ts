/** Judges the hypothesis of a scenario, point by point. Pure. */
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
  /** The measured value and the limit. */
  readonly why: string;
}

/** An auction in the output of `gavel check --json`. */
export interface AuctionCheck {
  readonly counts: Counts;
  readonly verdicts: readonly { verdict: string; lotId: string; detail: string }[];
}

export interface Observed {
  readonly rounds: readonly Round[];
  /** Whether every bid got its answer. Otherwise the histories are incomplete. */
  readonly isFinished: boolean;
  /** From the first fault to the end. */
  readonly failed: Failed;
  /** Those of them outside every round, when nothing may fail. */
  readonly failedBetween: Failed;
  readonly viewersBroken: number;
  /** Pods that restarted after the last round. */
  readonly restartedAtEnd: readonly string[];
  /** null: the auction is kept. */
  readonly drain: Drain | null;
  /** Bidders that can have a bid in flight on one process at once. */
  readonly biddersAtOnce: number;
  readonly viewers: number;
  readonly watchingAtEnd: number;
  /** Lots that a viewer could not resume event by event. */
  readonly notRecovered: number;
  readonly dropped: number;
  readonly odd: readonly string[];
  readonly checked: AuctionCheck;
}

const CALM = "before the first fault nothing fails";
export const VIEWERS_SOON = "viewers come back, p95 ≤ 3 s and p99 ≤ 5 s";
const VIEWERS_P95_MS = 3_000;
const VIEWERS_P99_MS = 5_000;
/** Verdicts on bids that Redis lost after it had acknowledged them. */
const LOST_TAIL: readonly VerdictName[] = [
  "lost",
  "moved",
  "altered",
  "answers_differ",
  "no_such_event",
];
/** Verdicts on frames and reads that showed such bids. */
const LOST_TAIL_SHOWN: readonly VerdictName[] = [
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

/** Findings that count on any machine, however noisy. */
const ALWAYS: readonly string[] = [
  "every bid of unknown fate is resolved by its key",
  "the checker finds every bid and frame right",
  "no more is lost than the metric showed",
];

/** held when all findings are held, broken when one is broken, not judged when the calm windows were not calm. */
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
 * Before the first fault nothing may fail. Otherwise the cluster is overloaded, and later failures say nothing
 * about the fault.
 */
function calmBefore({ rounds }: Observed): Finding {
  const calm = rounds[0]?.calm ?? [];
  const sum = (value: (window: Window) => number) =>
    calm.reduce((total, window) => total + value(window), 0);
  const failed = sum(({ refused, unknown }) => refused + unknown);
  const viewersBroken = sum((window) => window.viewersBroken);
  const isCalm = calm.length > 0 && failed + viewersBroken === 0;
  return {
    what: CALM,
    judged: isCalm ? "held" : "not judged",
    why: `${failed} attempts failed, ${viewersBroken} viewers lost their socket`,
  };
}

const highest = (values: readonly number[]) => Math.max(0, ...values);

function judgeBids({ failedBids, bidsWithinSeconds }: Expect, observed: Observed): Finding[] {
  const { rounds, failed, failedBetween, biddersAtOnce, isFinished } = observed;
  const { dropped, odd, checked } = observed;
  const unknown = highest(rounds.map((round) => round.failed.unknown));
  const refused = highest(rounds.map((round) => round.failed.refused));
  const retries = `at most ${unknown} of unknown fate and ${refused} refused in a round, each tried again`;
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
    const why = `${retries}; ${biddersAtOnce} bidders, a bid each`;
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
  const { unresolved, resolved } = checked.counts.unknown;
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
  const worst = highest(ms) / 1_000;
  const measured = worst === Infinity ? "not within the waiting time" : `${worst.toFixed(1)} s`;
  return finding(what, worst <= seconds, `${measured}, at most ${seconds} s`);
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

/** Pods without a fault do not restart; checks by Chaos Mesh and the operator's drain pass. */
function judgeSurroundings({ rounds, restartedAtEnd, drain }: Observed): Finding[] {
  const restarted = [...rounds.flatMap((round) => round.restarted), ...restartedAtEnd];
  const checks = rounds.flatMap((round) => round.checks);
  const results = checks.map(({ name, why }) => `${name}: ${why}`).join("; ");
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
            results,
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
  const { rounds, isFinished, checked, biddersAtOnce } = observed;
  const what = "the checker finds every bid and frame right";
  if (!isFinished)
    return [{ what, judged: "not judged", why: "the histories lack the last of it" }];
  const { counts, verdicts } = checked;
  const highestOf = (names: readonly VerdictName[]) =>
    highest(names.map((name) => counts.verdicts[name] ?? 0));
  const tail = lost === "window" ? [...LOST_TAIL, ...LOST_TAIL_SHOWN] : [];
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
    const [bids, shown] = [highestOf(LOST_TAIL), highestOf(LOST_TAIL_SHOWN)];
    const why = `${counts.lost} acknowledged bids lost, ${bids} of any verdict on them and ${shown} of any verdict on frames and reads that showed them; the metric had shown ${window} events not relayed`;
    const holds = bids <= window && shown <= window * (counts.viewers + biddersAtOnce);
    findings.push(finding("no more is lost than the metric showed", holds, why));
    const epochs = rounds.map((round) => round.epochs.join(" to ")).join(", ");
    const rose = rounds.every((round) => round.epochs[1] > round.epochs[0]);
    findings.push(finding("the epoch rises, which tells viewers", rose, epochs));
  }
  return findings;
}
