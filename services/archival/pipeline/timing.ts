import { fullJitterMs } from "../../runtime/breaker.ts";

/** How long the pair of relay and archive waits for what; tests have less patience. */
export interface Timing {
  /** Without being renewed for so long, the lease goes to another. */
  readonly leaseMs: number;
  /** With something to do and nothing done for so long, the pair begins anew. */
  readonly stallMs: number;
  /** How long what is archived stays in the outbox and on the stream. */
  readonly retainMs: number;
  /** Between two attempts, at most; the first wait is a 25th of it. */
  readonly backoffMs: number;
  /** Between two looks at the rules file. */
  readonly rulesEveryMs: number;
}

export const TIMING: Timing = {
  leaseMs: 5_000,
  stallMs: 10_000,
  retainMs: 15 * 60_000,
  backoffMs: 2_000,
  rulesEveryMs: 5_000,
};

/** How long to wait before the nth attempt in a row: at most twice as long each time, and never all at once. */
export function backoffMs({ backoffMs: most }: Timing, attempt: number): number {
  return fullJitterMs(most / 25, most, attempt);
}
