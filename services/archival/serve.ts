/** What the archival tier does, from its start to its end: schema, definition, then relay and archive. */
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { AuctionDefinition } from "../store/define-lots.ts";
import { keepSummary } from "./observe/health-summary.ts";
import { type CheckOf, checkStore } from "./recovery/check-store.ts";
import type { Settled } from "./definition/define.ts";
import { withLease } from "./pipeline/lease.ts";
import { readMarks } from "./postgres/auction-marks.ts";
import { migrate } from "./postgres/migrate.ts";
import { failing, PairFailure, type RestartReason } from "./pipeline/pipeline-failure.ts";
import { type PairOf, runPair } from "./pipeline/pipeline.ts";
import type { Progress } from "./pipeline/progress.ts";
import type { Rules } from "./definition/rules.ts";
import { backoffMs, type Timing } from "./pipeline/timing.ts";

export type Phase =
  | "starting"
  /** The store lost its data, or some of it: that is being put back. */
  | "lost"
  | "serving"
  /** The auction was removed for good: there is nothing to do. */
  | "removed";

/** What others may see of it. */
export interface Standing {
  phase: Phase;
  /** Null where another process has the lease, or none could begin. */
  progress: Progress | null;
  /** Why relay and archive ended last; null while they did not fail. */
  failed: RestartReason | null;
}

export interface Serving extends Omit<PairOf, "bus">, Omit<CheckOf, "onLost"> {
  readonly definition: AuctionDefinition;
  readonly rules: Rules;
  /** Of the lease: one for the life of the process. */
  readonly holder: string;
}

/** How long one turn waits for NATS before it looks at Redis again. */
const BUS_WAIT_MS = 1_000;

/** Nothing is waited for. */
const IDLE_MS = 60_000;

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
  const removed = async () => (await readMarks(archive, serving.of.auctionUid)).cleaning;
  if (await insist("read the auction's marks", removed, log, timing, signal)) {
    standing.phase = "removed";
  }
  if (standing.phase !== "removed") await settle(serving, standing, signal);
  for (let attempt = 0; !signal.aborted && standing.phase !== "removed";) {
    const startedMs = performance.now();
    const failed = await runOnce(serving, standing, signal);
    attempt = performance.now() - startedMs > WELL_MS || !failed ? 0 : attempt + 1;
    await pause(backoffMs(timing, attempt), signal);
  }
  while (!signal.aborted) await pause(IDLE_MS, signal);
}

export function checkOf(serving: Omit<CheckOf, "onLost">, standing: Standing): CheckOf {
  const onLost = () => {
    standing.phase = "lost";
    serving.metrics.storeLost.set(1);
  };
  return { ...serving, onLost };
}

function isServing({ metrics }: Serving, standing: Standing): void {
  standing.phase = "serving";
  metrics.storeLost.set(0);
}

async function settle(serving: Serving, standing: Standing, signal: AbortSignal): Promise<void> {
  const { log, timing, definition, rules } = serving;
  const ask = (): Promise<Settled> => rules.settle(definition);
  const settled = await insist("define the auction", ask, log, timing, signal);
  if (settled === null) return;
  if (settled.outcome === "defined") log.info("the auction is defined");
  isServing(serving, standing);
}

/** One turn of the lease. @returns whether something failed */
async function runOnce(
  serving: Serving,
  standing: Standing,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, keys, timing, metrics, log, relayed, holder } = serving;
  const run = async (leased: AbortSignal): Promise<PairFailure | null> => {
    metrics.leaseHeld.set(1);
    try {
      const checked = await failing("check", checkStore(checkOf(serving, standing), relayed));
      if (checked === "removed") {
        standing.phase = "removed";
        return null;
      }
      isServing(serving, standing);
    } catch (error) {
      return error as PairFailure;
    }
    const bus = await Promise.race([serving.bus().catch(() => null), pause(BUS_WAIT_MS, leased)]);
    if (!bus) return null;
    const began = (progress: Progress) => {
      standing.progress = progress;
      log.info({ watermark: progress.archivedId }, "relay and archive began");
    };
    const failure = await besideSummary(serving, standing, leased, () =>
      runPair({ ...serving, bus }, began, leased),
    );
    standing.failed = failure?.reason ?? null;
    return failure;
  };
  const lease = { holder, leaseMs: timing.leaseMs, onOther: () => relayed.forget() };
  const ended = await withLease(store, keys, lease, run, signal);
  metrics.leaseHeld.set(0);
  standing.progress = null;
  if (ended === null) return false;
  const failure = ended.lost ? new PairFailure("lease", "the lease was lost") : ended.result;
  if (failure === null) return false;
  const { reason, message, cause } = failure;
  if (reason === "lease" || reason === "publish" || reason === "superseded") relayed.forget();
  metrics.pairRestarts.inc({ reason });
  log.warn({ reason, message, err: cause }, "relay and archive begin anew");
  return true;
}

/** The summary is written as long as the pair runs, and a little beyond its failures. */
async function besideSummary<T>(
  serving: Serving,
  standing: Standing,
  leased: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const ending = new AbortController();
  const stop = () => ending.abort();
  leased.addEventListener("abort", stop, { once: true });
  const keeping = keepSummary(serving, standing, ending.signal);
  try {
    return await work();
  } finally {
    ending.abort();
    leased.removeEventListener("abort", stop);
    await keeping;
  }
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
