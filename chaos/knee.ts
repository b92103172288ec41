/**
 * `make chaos-knee`: the highest rate of bids that a cluster decides before they become slow, with all viewers
 * connected. Measured once and kept in knee.json. Experiments run at 40 % of it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Second } from "../load/in-cluster/plan.ts";
import { type Window, windowOf } from "./measure.ts";

const FILE = fileURLToPath(new URL("knee.json", import.meta.url));
const SHARE = 0.4;
/** A rate that misses either limit is above the knee. */
const P99_MAX_MS = 100;
const DECIDED_MIN = 0.95;
/** Seconds at the start of a step that are not counted: they still show the previous step. */
const SKIPPED = 3;

export interface Step extends Window {
  readonly rate: number;
}

export interface Knee {
  readonly cores: number;
  readonly measuredAt: string;
  readonly viewers: number;
  readonly steps: readonly Step[];
  /** The highest rate within the limits. */
  readonly knee: number;
  readonly fixedRate: number;
}

/** @returns the rate of experiments, and the cluster on which the knee was measured */
export function readKnee(): { readonly fixedRate: number; readonly measuredOn: string } {
  const { fixedRate, cores, measuredAt } = JSON.parse(readFileSync(FILE, "utf8")) as Knee;
  return { fixedRate, measuredOn: `a cluster of ${cores} cores on ${measuredAt.slice(0, 10)}` };
}

export function stepsOf(seconds: readonly Second[], rates: readonly number[]): Step[] {
  return rates.map((rate) => {
    const own = seconds.filter((second) => second.rate === rate).slice(SKIPPED);
    return { rate, ...windowOf(own) };
  });
}

const isHeld = ({ rate, decidedPerSecond, p99Ms }: Step) =>
  p99Ms <= P99_MAX_MS && decidedPerSecond >= DECIDED_MIN * rate;

/** The last step before the first that missed a limit. Pure. @throws Error when the first step missed one */
export function kneeOf(steps: readonly Step[], viewers: number, cores: number): Knee {
  const first = steps.findIndex((step) => !isHeld(step));
  const knee = (first === -1 ? steps.at(-1) : steps[first - 1])?.rate;
  if (knee === undefined) throw new Error(`${steps[0]?.rate} bids/s are already above the knee`);
  return {
    cores,
    measuredAt: new Date().toISOString(),
    viewers,
    steps,
    knee,
    fixedRate: Math.round(knee * SHARE),
  };
}

export function writeKnee(knee: Knee): void {
  writeFileSync(FILE, `${JSON.stringify(knee, null, 2)}\n`);
}
