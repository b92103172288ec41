import { fullJitterMs } from "../../runtime/breaker.ts";

/** The waits of the pipeline and its supervisor; tests shorten them. */
export interface Timing {
  /** A lease that is not renewed for so long is free. */
  readonly leaseMs: number;
  /** When entries wait and none was archived for so long, the pipeline restarts. */
  readonly stallMs: number;
  /** A stream that JetStream does not serve for this long, although it answers, is given up. */
  readonly streamGoneMs: number;
  /** How long archived entries stay in the outbox and on the stream. */
  readonly retainMs: number;
  /** The longest wait between two attempts; the first is a 25th of it. */
  readonly backoffMaxMs: number;
  /** How often the rules file is read. */
  readonly rulesEveryMs: number;
}

export const TIMING: Timing = {
  leaseMs: 5_000,
  stallMs: 10_000,
  streamGoneMs: 30_000,
  retainMs: 15 * 60_000,
  backoffMaxMs: 2_000,
  rulesEveryMs: 5_000,
};

/** How long to wait before the nth attempt in a row: exponential, with jitter. */
export function backoffMs({ backoffMaxMs: maxMs }: Timing, attempt: number): number {
  return fullJitterMs(maxMs / 25, maxMs, attempt);
}
