import { describe, expect, test } from "vitest";
import { judge, type Observed, outcomeOf, type AuctionCheck } from "./hypothesis.ts";
import type { Round, Window } from "./measure.ts";
import type { Expect } from "./scenario.ts";

const CALM: Expect = {
  failedBids: "none",
  steadyP99: true,
  viewers: "undisturbed",
  podsWithinSeconds: 60,
  archiveWithinSeconds: 60,
  lost: "nothing",
};

const WINDOW: Window = {
  seconds: 15,
  due: 1_500,
  decided: 1_500,
  refused: 0,
  unknown: 0,
  dropped: 0,
  viewersBroken: 0,
  decidedPerSecond: 100,
  framesPerSecond: 2_500,
  p50Ms: 3,
  p99Ms: 12,
};

const ROUND: Round = {
  calm: [WINDOW],
  faulty: [WINDOW],
  failed: { refused: 0, unknown: 0, overHttp: 0 },
  epochs: [1, 1],
  restarted: [],
  checks: [],
  bidsBackMs: 0,
  podsBackMs: 9_000,
  archiveMs: 1_000,
  unrelayedEvents: 2,
  seen: [],
  viewersBroken: 0,
  viewersBackMs: [],
};

const VERIFIED: AuctionCheck = {
  counts: {
    lots: 20,
    events: 9_020,
    bids: 9_000,
    records: 100_000,
    reads: 0,
    frames: 90_000,
    acknowledged: 9_000,
    rejected: 100,
    refused: 0,
    lost: 0,
    duplicated: 0,
    misordered: 0,
    unknown: { resolved: 4, unresolved: 0 },
    viewers: 500,
    viewersComplete: 500,
    verdicts: {},
  },
  verdicts: [],
};

const GOOD: Observed = {
  rounds: [ROUND, ROUND, ROUND],
  biddersAtOnce: 60,
  viewers: 500,
  watchingAtEnd: 500,
  isFinished: true,
  failed: { refused: 0, unknown: 0, overHttp: 0 },
  viewersBroken: 0,
  failedBetween: { refused: 0, unknown: 0, overHttp: 0 },
  restartedAtEnd: [],
  notRecovered: 0,
  dropped: 0,
  odd: [],
  checked: VERIFIED,
  drain: { proven: true, why: "" },
};

const outcome = (expected: Partial<Expect>, observed: Partial<Observed>) =>
  outcomeOf(judge({ ...CALM, ...expected }, { ...GOOD, ...observed }));
const rounds = (change: Partial<Round>): Partial<Observed> =>
  summed([ROUND, { ...ROUND, ...change }, ROUND]);
/** Without failures between the rounds. */
const summed = (all: readonly Round[]): Partial<Observed> => ({
  rounds: all,
  failed: {
    refused: all.reduce((sum, { failed }) => sum + failed.refused, 0),
    unknown: all.reduce((sum, { failed }) => sum + failed.unknown, 0),
    overHttp: all.reduce((sum, { failed }) => sum + failed.overHttp, 0),
  },
  viewersBroken: all.reduce((sum, { viewersBroken }) => sum + viewersBroken, 0),
});
const failing = (refused: number, unknown: number, overHttp = 0) =>
  rounds({ failed: { refused, unknown, overHttp } });
const counted = (
  change: Partial<AuctionCheck["counts"]>,
  verdicts: string[] = [],
): AuctionCheck => ({
  counts: { ...VERIFIED.counts, ...change },
  verdicts: verdicts.map((verdict) => ({ verdict, lotId: "lot-01", detail: "so it is" })),
});

test("a run without failures holds", () => {
  expect(outcome({}, {})).toBe("held");
});

describe("a cluster that cannot sustain the load", () => {
  const overloaded = { ...ROUND, calm: [{ ...WINDOW, refused: 3 }] };
  const failed = {
    ...overloaded,
    failed: { refused: 90, unknown: 5, overHttp: 90 },
    podsBackMs: 90_000,
  };

  test("is not judged by failures of any kind", () => {
    expect(outcome({}, { ...summed([failed, ROUND, ROUND]) })).toBe("not judged");
    const quiet = { ...ROUND, calm: [{ ...WINDOW, viewersBroken: 1 }] };
    expect(outcome({}, { ...summed([quiet, ROUND, ROUND]) })).toBe("not judged");
  });

  test("is judged by lost bids, and by failures that begin after the first fault", () => {
    const checked = counted({ lost: 1 }, ["lost"]);
    expect(outcome({}, { ...summed([failed, ROUND, ROUND]), checked })).toBe("broken");
    expect(outcome({}, { ...summed([ROUND, failed, ROUND]) })).toBe("broken");
  });
});

describe("each point is broken by", () => {
  test("one failed attempt if none may fail", () => {
    expect(outcome({}, failing(1, 0))).toBe("broken");
    expect(outcome({}, failing(0, 1))).toBe("broken");
  });

  test("more unknown bids than can have been in flight", () => {
    expect(outcome({ failedBids: "in-flight" }, failing(9, 40, 49))).toBe("held");
    expect(outcome({ failedBids: "in-flight" }, failing(0, 61))).toBe("broken");
  });

  test("a failed bid over HTTP if only sockets may fail", () => {
    const sockets = { failedBids: "in-flight-sockets" } as const;
    expect(outcome(sockets, failing(9, 40))).toBe("held");
    expect(outcome(sockets, failing(9, 40, 1))).toBe("broken");
  });

  test("failures between the rounds", () => {
    const one = { refused: 1, unknown: 0, overHttp: 0 };
    expect(outcome({}, { failed: one, failedBetween: one })).toBe("broken");
    const until = { failedBids: "until-recovered" } as const;
    expect(outcome(until, failing(9, 4))).toBe("held");
    expect(outcome(until, { ...failing(9, 4), failedBetween: one })).toBe("broken");
    expect(outcome({}, { viewersBroken: 1 })).toBe("broken");
  });

  test("a restart of a pod without a fault, a failed check of Chaos Mesh, a drain without a proof", () => {
    expect(outcome({}, rounds({ restarted: ["chaos-auction-redis-0"] }))).toBe("broken");
    const check = { name: "settled", why: "FailureThresholdExceed" };
    expect(outcome({}, rounds({ checks: [{ ...check, passed: true }] }))).toBe("held");
    expect(outcome({}, rounds({ checks: [{ ...check, passed: false }] }))).toBe("broken");
    expect(outcome({}, { restartedAtEnd: ["chaos-auction-redis-0"] })).toBe("broken");
    expect(outcome({}, { drain: { proven: false, why: "Verify: it differs" } })).toBe("broken");
    expect(outcome({}, { drain: { proven: null, why: "no API server" } })).toBe("not judged");
    expect(outcome({}, { drain: null })).toBe("held");
  });

  test("bids, pods or the archive that recover too late", () => {
    const until = { failedBids: "until-recovered", bidsWithinSeconds: 15 } as const;
    expect(outcome(until, rounds({ bidsBackMs: 14_000 }))).toBe("held");
    expect(outcome(until, rounds({ bidsBackMs: 16_000 }))).toBe("broken");
    expect(outcome({}, rounds({ podsBackMs: 61_000 }))).toBe("broken");
    expect(outcome({}, rounds({ podsBackMs: Infinity }))).toBe("broken");
    expect(outcome({}, rounds({ archiveMs: 61_000 }))).toBe("broken");
  });

  test("a bid that stays unknown, one that was never placed, and an undocumented answer", () => {
    const checked = counted({ unknown: { resolved: 1, unresolved: 1 } });
    expect(outcome({}, { checked })).toBe("broken");
    expect(outcome({}, { dropped: 1 })).toBe("broken");
    expect(outcome({}, { isFinished: false })).toBe("broken");
    expect(outcome({}, { odd: ["a bid was answered internal"] })).toBe("broken");
  });

  test("a higher p99, and noise that hides it", () => {
    const slow = { ...ROUND, faulty: [{ ...WINDOW, p99Ms: 60 }] };
    expect(outcome({}, { ...summed([slow, slow, slow]) })).toBe("broken");
    const noisy = [112, 150, 170].map((p99Ms) => ({ ...ROUND, calm: [{ ...WINDOW, p99Ms }] }));
    expect(outcome({}, { rounds: noisy })).toBe("not judged");
    expect(outcome({ steadyP99: false }, { rounds: noisy })).toBe("held");
  });

  test("viewers that are disconnected, incomplete, late, or got a snapshot for missed events", () => {
    expect(outcome({}, rounds({ viewersBroken: 1, viewersBackMs: [10] }))).toBe("broken");
    expect(outcome({}, { watchingAtEnd: 499 })).toBe("broken");
    const back = { steadyP99: false, viewers: "back" } as const;
    const times = (slow: number, count: number) => [
      ...Array.from({ length: 250 - count }, () => 900),
      ...Array.from({ length: count }, () => slow),
    ];
    const hit = (ms: number[]): Round => ({ ...ROUND, viewersBroken: 250, viewersBackMs: ms });
    const broke = (ms: number[]) => summed([hit(ms), hit(ms), hit(ms)]);
    expect(outcome(back, broke(times(4_000, 5)))).toBe("held");
    expect(outcome(back, broke(times(4_000, 20)))).toBe("broken");
    expect(outcome(back, broke(times(6_000, 5)))).toBe("broken");
    expect(outcome(back, broke(times(900, 5).slice(1)))).toBe("broken");
    // A round in which no socket ended proves nothing.
    expect(outcome(back, summed([hit(times(900, 0)), ROUND]))).toBe("broken");
    expect(outcome({ ...back, viewers: "at-end" }, broke(times(9_000, 20)))).toBe("held");
    expect(outcome({ ...back, viewers: "at-end" }, { watchingAtEnd: 499 })).toBe("broken");
    expect(outcome(back, { ...broke(times(900, 5)), notRecovered: 1 })).toBe("broken");
  });

  test("any verdict of the checker, and a run without a single bid", () => {
    expect(outcome({}, { checked: counted({ lost: 1 }, ["lost"]) })).toBe("broken");
    expect(outcome({}, { checked: counted({}, ["viewer_gap"]) })).toBe("broken");
    expect(outcome({}, { checked: counted({ acknowledged: 0 }) })).toBe("broken");
  });

  test("a wiped store may lose at most the events that the metric showed", () => {
    const wiped = { failedBids: "until-recovered", steadyP99: false, lost: "window" } as const;
    const rose = rounds({ epochs: [1, 2] });
    const of = (verdicts: AuctionCheck["counts"]["verdicts"]) => ({
      ...summed([{ ...ROUND, epochs: [1, 2], unrelayedEvents: 6 }]),
      checked: counted({ lost: verdicts.lost ?? 0, verdicts }, Object.keys(verdicts)),
    });
    expect(outcome(wiped, of({ lost: 6, viewer_phantom: 6 * 560 }))).toBe("held");
    expect(outcome(wiped, of({ lost: 7 }))).toBe("broken");
    expect(outcome(wiped, of({ altered: 7 }))).toBe("broken");
    expect(outcome(wiped, of({ viewer_phantom: 6 * 560 + 1 }))).toBe("broken");
    expect(outcome(wiped, of({ lost: 1, below_minimum: 1 }))).toBe("broken");
    expect(outcome(wiped, { ...of({}), ...rose })).toBe("broken"); // In one round of three it rose.
  });
});
