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
  /** Viewers that lost their connection. */
  readonly viewersBroken: number;
  readonly decidedPerSecond: number;
  readonly framesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const sum = (seconds: readonly Second[], value: (second: Second) => number) =>
  seconds.reduce((total, second) => total + value(second), 0);

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

/** Counts attempts, not bids: each was repeated with its key. */
export interface Failed {
  readonly refused: number;
  readonly unknown: number;
  /** Those of them that were made over HTTP. */
  readonly overHttp: number;
}

export function failedIn(seconds: readonly Second[]): Failed {
  return {
    refused: sum(seconds, ({ refused }) => refused),
    unknown: sum(seconds, ({ unknown }) => unknown),
    overHttp: sum(seconds, ({ failedOverHttp }) => failedOverHttp),
  };
}

/** One fault and its consequences. */
export interface Round {
  /** Just before the fault. */
  readonly calm: readonly Window[];
  /** From the start of the fault: one window, or more when the fault lasts longer. */
  readonly faulty: readonly Window[];
  /** Attempts that failed from the start of the fault until recovery. */
  readonly failed: Failed;
  /** From the fault's end to the end of the last second with a failed attempt; 0 where there was none. */
  readonly bidsBackMs: number;
  /** From the fault's end until every pod was ready. */
  readonly podsBackMs: number;
  /** From then until everything acknowledged by then was archived. For all three, Infinity: not recovered in time. */
  readonly archiveMs: number;
  readonly viewersBroken: number;
  readonly viewersBackMs: readonly number[];
  /** Events that were not relayed just before the fault, by the metric. */
  readonly unrelayedEvents: number;
  /** Epoch of the lots before and after the fault. */
  readonly epochs: readonly [before: number, after: number];
  /** Pods without a fault that restarted. */
  readonly restarted: readonly string[];
  /** Results of the StatusChecks of Chaos Mesh. */
  readonly checks: readonly Check[];
  readonly seen: readonly string[];
}

/** Time from the end of the fault to the end of the last second with a failed attempt. */
export function bidsBackMs(seconds: readonly Second[], endedMs: number, aheadMs: number): number {
  const failing = seconds.filter(({ refused, unknown }) => refused + unknown > 0);
  const last = failing.at(-1);
  return last === undefined ? 0 : Math.max(0, last.atMs - aheadMs - endedMs);
}

function median(values: readonly number[]): number {
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

/** With the fault, p99 may exceed that of calm windows by a fifth or by 10 ms, whichever is more. */
const P99_RATIO = 1.2;
const P99_MS = 10;
const WINDOWS_MIN = 3;
/** The limit of the knee: above it a calm window is not calm. */
const CALM_MAX_MS = 100;
const SHARE = 0.75;

const p99Limit = (calmMs: number): number => Math.max(calmMs * P99_RATIO, calmMs + P99_MS);

export type Judged = "held" | "broken" | "not judged";

/**
 * Compares p99 with the fault to p99 of the calm windows. held: its median is within the limit. broken: its median
 * is above the limit, and so is at least `SHARE` of all pairs of a calm and a faulty window. Otherwise it may be
 * chance: not judged. Also not judged: fewer than three windows, or calm windows in which the cluster was overloaded.
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
      why: `only ${calm!.length} calm and ${faulty!.length} faulty windows have bids`,
    };
  }
  const [calmP99, faultyP99] = [median(calm!), median(faulty!)];
  const summary = `p99 ${ms(faultyP99)} (median of ${faulty!.length}) against ${ms(calmP99)} in calm, at most ${ms(p99Limit(calmP99))}`;
  if (calmP99 > CALM_MAX_MS) {
    return {
      judged: "not judged",
      why: `${summary}; the calm windows are above ${CALM_MAX_MS} ms, so the cluster was overloaded`,
    };
  }
  if (faultyP99 <= p99Limit(calmP99)) return { judged: "held", why: summary };
  const pairs = calm!.flatMap((one) => faulty!.map((other) => other > p99Limit(one)));
  const over = pairs.filter(Boolean).length;
  const share = `${over} of ${pairs.length} pairs of windows exceed the limit`;
  return {
    judged: over >= SHARE * pairs.length ? "broken" : "not judged",
    why: `${summary}; ${share}`,
  };
}
