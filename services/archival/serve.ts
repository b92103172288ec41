/** What the archival tier does, from its start to its end: schema, definition, then relay and archive. */
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { AuctionDefinition } from "../store/define-lots.ts";
import { type Settled, settleDefinition, type Stores } from "./define.ts";
import { withLease } from "./lease.ts";
import { migrate } from "./migrate.ts";
import { PairFailure } from "./pair-failure.ts";
import { type PairOf, runPair } from "./pair.ts";
import type { Progress } from "./progress.ts";
import { backoffMs, type Timing } from "./timing.ts";

export type Phase =
  | "starting"
  /** The store lost its data: it waits for a restore. */
  | "lost"
  | "serving";

/** What others may see of it. */
export interface Standing {
  phase: Phase;
  /** Null where another process has the lease, or none could begin. */
  progress: Progress | null;
}

export interface Serving extends Stores, Omit<PairOf, "bus"> {
  readonly definition: AuctionDefinition;
}

/** A run that lasted so long was well: the next failure is the first one again. */
const WELL_MS = 30_000;

/** Returns when the signal aborts; never before. Whatever cannot be reached is waited for. */
export async function serve(
  serving: Serving,
  standing: Standing,
  signal: AbortSignal,
): Promise<void> {
  const { log, timing, archive } = serving;
  const applied = await insist("migrate the archive", () => migrate(archive), log, timing, signal);
  if (applied !== null && applied.length > 0) log.info({ applied }, "the archive's schema changed");
  await settle(serving, standing, signal);
  for (let attempt = 0; !signal.aborted;) {
    const startedMs = performance.now();
    const failed = await runOnce(serving, standing, signal);
    attempt = performance.now() - startedMs > WELL_MS || !failed ? 0 : attempt + 1;
    await pause(backoffMs(timing, attempt), signal);
  }
}

async function settle(serving: Serving, standing: Standing, signal: AbortSignal): Promise<void> {
  const { log, timing, metrics, definition, maxBytes } = serving;
  while (!signal.aborted) {
    const ask = (): Promise<Settled> => settleDefinition(serving, definition, maxBytes);
    const settled = await insist("define the auction", ask, log, timing, signal);
    if (settled === null) return;
    metrics.storeLost.set(settled.outcome === "lost" ? 1 : 0);
    if (settled.outcome !== "lost") {
      const { why } = settled as { why?: string };
      if (why === undefined) log.info("the auction is defined");
      else log.error({ why }, "the rules were refused; the store goes on with those that it has");
      standing.phase = "serving";
      return;
    }
    if (standing.phase !== "lost") {
      standing.phase = "lost";
      log.error("the store lost its data: it has no auction, but events of it exist; restore it");
    }
    await pause(backoffMs(timing, Infinity), signal);
  }
}

/** One turn of the lease. @returns whether something failed */
async function runOnce(
  serving: Serving,
  standing: Standing,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, keys, timing, metrics, log } = serving;
  const bus = await serving.bus().catch(() => null);
  if (bus === null) return false;
  const pair: PairOf = { ...serving, bus };

  const run = async (leased: AbortSignal): Promise<PairFailure | null> => {
    metrics.leaseHeld.set(1);
    const began = (progress: Progress) => {
      standing.progress = progress;
      log.info({ watermark: progress.archivedId }, "relay and archive began");
    };
    return runPair(pair, began, leased);
  };
  const ended = await withLease(store, keys, timing.leaseMs, run, signal);
  metrics.leaseHeld.set(0);
  standing.progress = null;
  if (ended === null) return false;
  const failure = ended.lost ? new PairFailure("lease", "the lease was lost") : ended.result;
  if (failure === null) return false;
  const { reason, message, cause } = failure;
  metrics.pairRestarts.inc({ reason });
  log.warn({ reason, message, err: cause }, "relay and archive begin anew");
  return true;
}

/** Tries until it works. Null once the signal aborted. */
async function insist<T>(
  what: string,
  work: () => Promise<T>,
  log: Logger,
  timing: Timing,
  signal: AbortSignal,
): Promise<T | null> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      return await work();
    } catch (error) {
      log.warn({ err: error, what }, "waiting for a store");
      await pause(backoffMs(timing, attempt), signal);
    }
  }
  return null;
}
