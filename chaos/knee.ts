/**
 * `make chaos-knee`: how many bids a second this topology decides on this cluster before they get slow, with
 * all viewers watching. Measured once and kept in knee.json: experiments run at 40 % of it.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Second } from "../load/in-cluster/plan.ts";
import { type Window, windowOf } from "./measure.ts";

const FILE = fileURLToPath(new URL("knee.json", import.meta.url));
const SHARE = 0.4;
/** Beyond either the rate is above the knee. */
const P99_MAX_MS = 100;
const DECIDED_MIN = 0.95;
/** Seconds of a step that are not counted: the one before still shows. */
const SKIPPED = 3;

export interface Step extends Window {
  readonly rate: number;
}

export interface Knee {
  readonly cores: number;
  readonly measuredAt: string;
  readonly viewers: number;
  readonly steps: readonly Step[];
  /** The highest rate that was held. */
  readonly knee: number;
  readonly fixedRate: number;
}

/** Where none was measured, a rate that two cores bear. */
const UNMEASURED = { fixedRate: 100 };

export function readKnee(): Pick<Knee, "fixedRate"> {
  return existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Knee) : UNMEASURED;
}

export function stepsOf(seconds: readonly Second[], rates: readonly number[]): Step[] {
  return rates.map((rate) => {
    const own = seconds.filter((second) => second.rate === rate).slice(SKIPPED);
    return { rate, ...windowOf(own) };
  });
}

const isHeld = ({ rate, decidedPerSecond, p99Ms }: Step) =>
  p99Ms <= P99_MAX_MS && decidedPerSecond >= DECIDED_MIN * rate;

/** The last of the steps that were held one after the other. Pure. */
export function kneeOf(steps: readonly Step[], viewers: number): Knee {
  const first = steps.findIndex((step) => !isHeld(step));
  const knee = (first === -1 ? steps.at(-1) : steps[first - 1])?.rate ?? 0;
  return {
    ...{ cores: availableParallelism(), measuredAt: new Date().toISOString(), viewers, steps },
    ...{ knee, fixedRate: Math.max(1, Math.round(knee * SHARE)) },
  };
}

export function writeKnee(knee: Knee): void {
  writeFileSync(FILE, `${JSON.stringify(knee, null, 2)}\n`);
}
