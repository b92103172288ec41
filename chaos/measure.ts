/** What the load said, made into figures: windows of bids, and how each round went. Pure. */
import type { Second } from "../load/in-cluster/plan.ts";
import { countOf, mergeLatencies, quantileOf } from "../load/latencies.ts";
import type { Check } from "./proof.ts";

export interface Window {
  readonly seconds: number;
  readonly due: number;
  readonly decided: number;
  /** Attempts, not bids: 503, and unknown fate. */
  readonly refused: number;
  readonly unknown: number;
  readonly dropped: number;
  /** Viewers that lost their socket. */
  readonly viewersBroken: number;
  readonly decidedPerSecond: number;
  readonly framesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const sum = (seconds: readonly Second[], of: (second: Second) => number) =>
  seconds.reduce((total, second) => total + of(second), 0);

export function windowOf(seconds: readonly Second[]): Window {
  const latencies = mergeLatencies(seconds.map((second) => second.latencies));
  const decided = sum(seconds, ({ accepted, rejected }) => accepted + rejected);
  const per = (total: number) => Math.round((10 * total) / Math.max(1, seconds.length)) / 10;
  const quantile = (q: number) =>
    countOf(latencies) === 0 ? NaN : Math.round(10 * quantileOf(latencies, q)) / 10;
  return {
    seconds: seconds.length,
    due: sum(seconds, ({ due }) => due),
    decided,
    refused: sum(seconds, ({ refused }) => refused),
    unknown: sum(seconds, ({ unknown }) => unknown),
    dropped: sum(seconds, ({ dropped }) => dropped),
    viewersBroken: sum(seconds, ({ broken }) => broken),
    decidedPerSecond: per(decided),
    framesPerSecond: per(sum(seconds, ({ frames }) => frames)),
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
}

/** Attempts, not bids: each was sent again with its key. */
export interface Failed {
  readonly refused: number;
  readonly unknown: number;
  /** How many of these were over HTTP. */
  readonly overHttp: number;
}

export function failedIn(seconds: readonly Second[]): Failed {
  return {
    refused: sum(seconds, ({ refused }) => refused),
    unknown: sum(seconds, ({ unknown }) => unknown),
    overHttp: sum(seconds, ({ failedOverHttp }) => failedOverHttp),
  };
}

/** One injection, and what came of it. */
export interface Round {
  /** Just before it. */
  readonly calm: readonly Window[];
  /** From the injection on: one window, or as many as fit into what lasts longer. */
  readonly faulty: readonly Window[];
  /** Attempts that failed from the injection until all was well. */
  readonly failed: Failed;
  /** From the fault's end to the end of the last second with a failed attempt; 0 where there was none. */
  readonly bidsBackMs: number;
  /** From the fault's end until every pod was ready. */
  readonly podsBackMs: number;
  /** From then until what was acknowledged by then was archived. This and the two above: Infinity where it was in vain. */
  readonly archiveMs: number;
  readonly viewersBroken: number;
  readonly viewersBackMs: readonly number[];
  /** What the metric showed as not relayed, just before. */
  readonly unrelayedEvents: number;
  /** What lots were in before, and afterwards. */
  readonly epochs: readonly [before: number, after: number];
  /** Pods to which nothing was done and which restarted all the same. */
  readonly restarted: readonly string[];
  /** What Chaos Mesh's own checks of the auction said. */
  readonly checks: readonly Check[];
  readonly seen: readonly string[];
}

/** To the end of the last second with a failed attempt. */
export function bidsBackMs(seconds: readonly Second[], endedMs: number, aheadMs: number): number {
  const failing = seconds.filter(({ refused, unknown }) => refused + unknown > 0);
  const last = failing.at(-1);
  return last === undefined ? 0 : Math.max(0, last.atMs - aheadMs - endedMs);
}

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Nearest rank; NaN of none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)] ?? NaN;
}

/** In calm, p99 may grow by a fifth or by 10 ms, whichever is more. */
const P99_RATIO = 1.2;
const P99_MS = 10;
const WINDOWS_MIN = 3;
/** As at the knee. */
const CALM_MAX_MS = 100;
const SHARE = 0.75;

export const p99Limit = (calmMs: number): number => Math.max(calmMs * P99_RATIO, calmMs + P99_MS);

export type Judged = "held" | "broken" | "not judged";

/**
 * Whether p99 with the fault is that of the calm windows between: held where its median is within what is
 * allowed, broken where it is not and, of all pairs of a calm and a faulty window, `SHARE` and more say so.
 * In between, chance may have said it. Calm windows in which the cluster did not bear the load judge nothing,
 * nor do fewer than three.
 */
export function judgeP99(
  calmMs: readonly number[],
  faultyMs: readonly number[],
): { readonly judged: Judged; readonly why: string } {
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const [calm, faulty] = [calmMs, faultyMs].map((all) => all.filter((one) => !Number.isNaN(one)));
  if (calm!.length < WINDOWS_MIN || faulty!.length < WINDOWS_MIN) {
    return {
      judged: "not judged",
      why: `only ${calm!.length} calm and ${faulty!.length} other windows have bids`,
    };
  }
  const [usual, seen] = [median(calm!), median(faulty!)];
  const told = `p99 ${ms(seen)} (median of ${faulty!.length}) against ${ms(usual)} in calm, at most ${ms(p99Limit(usual))}`;
  if (usual > CALM_MAX_MS) {
    return { judged: "not judged", why: `${told}; but calm is no calm above ${CALM_MAX_MS} ms` };
  }
  if (seen <= p99Limit(usual)) return { judged: "held", why: told };
  const pairs = calm!.flatMap((one) => faulty!.map((other) => other > p99Limit(one)));
  const over = pairs.filter(Boolean).length;
  const share = `${over} of ${pairs.length} pairs of windows say so`;
  return {
    judged: over >= SHARE * pairs.length ? "broken" : "not judged",
    why: `${told}; ${share}`,
  };
}
