/**
 * The supervisor: migrates the archive, defines the auction, and then keeps the pipeline running: lease → check
 * of the store → pipeline, again and again. It waits for every store that is unreachable.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Bus } from "../bus/connect.ts";
import { abandonStream, isOfStream } from "../bus/stream.ts";
import { streamNameOf } from "../bus/subjects.ts";
import { pause } from "../runtime/lifecycle.ts";
import { StoreRefused } from "../store/unreachable.ts";
import type { Rules } from "./definition/rules.ts";
import type { Dependency } from "./metrics.ts";
import { ARCHIVING } from "./pipeline/archive.ts";
import { TRIMMING } from "./pipeline/keep-trimmed.ts";
import type { ProcessState } from "./pipeline/process-state.ts";
import { withLease } from "./pipeline/lease.ts";
import { type PipelineDependencies, runPipeline } from "./pipeline/pipeline.ts";
import { failing, PipelineFailure } from "./pipeline/pipeline-failure.ts";
import { RelayedPositions } from "./pipeline/relayed-positions.ts";
import { StreamOutage } from "./pipeline/stream-outage.ts";
import { backoffMs } from "./pipeline/timing.ts";
import type { RestartReason } from "./reasons.ts";
import { readAuctionMarks } from "./postgres/auction-marks.ts";
import { migrate } from "./postgres/migrate.ts";
import { type CheckDependencies, checkStore } from "./recovery/check-store.ts";

type SharedDependencies = Omit<PipelineDependencies, "bus" | "relayedPositions"> &
  CheckDependencies;

interface SupervisorDependencies extends SharedDependencies {
  readonly rules: Rules;
  readonly state: ProcessState;
  /** Null before the first connection to NATS. */
  readonly currentBus: () => Bus | null;
}

/** What outlives one turn of the lease. */
interface AcrossTurns extends SupervisorDependencies {
  /** Names this process as the holder of the lease: one name for its life. */
  readonly holder: string;
  readonly relayedPositions: RelayedPositions;
  /** The outage of the stream seen by the check: the stream may be the only copy of events that Redis lost. */
  readonly unread: StreamOutage;
  /** The outage of the stream seen by the pipeline: every event that is not archived is in the outbox. */
  readonly unserved: StreamOutage;
}

/** The name of this work in the list of refusals. */
const PIPELINE = "pipeline";

/** The store of a failure whose error identifies none; all other reasons mean Redis. */
const STORE_OF_REASON: Partial<Record<RestartReason, Dependency>> = {
  publish: "nats",
  bus: "nats",
  archive: "postgres",
};

/** How long a turn of the lease waits for NATS before it checks the store again. */
const BUS_WAIT_MS = 1_000;

const IDLE_MS = 60_000;

/** After a run of this length the backoff begins anew. */
const STABLE_MS = 30_000;

/** Returns when the signal aborts; never before. @throws a defect */
export async function supervise(
  dependencies: SupervisorDependencies,
  signal: AbortSignal,
): Promise<void> {
  const { auctionUid, archive, state, timing, log } = dependencies;
  const retry = <T>(step: string, work: () => Promise<T>) =>
    retryUntilDone(step, work, dependencies, signal);
  const applied = await retry("migrate the archive", () => migrate(archive));
  if (applied !== null && applied.length > 0) log.info({ applied }, "schema migrated");
  const marks = await retry("read the marks", () => readAuctionMarks(archive, auctionUid));
  if (marks?.cleaning) state.phase = "removed";
  else await define(dependencies, retry);
  const holder = `${hostname()}-${process.pid}-${randomUUID()}`;
  const turn: AcrossTurns = {
    ...dependencies,
    holder,
    relayedPositions: new RelayedPositions(),
    unread: new StreamOutage(timing.streamGoneMs),
    unserved: new StreamOutage(timing.streamGoneMs),
  };
  for (let attempt = 0; !signal.aborted && state.phase !== "removed";) {
    const startedMs = performance.now();
    const failed = await runOnce(turn, signal);
    attempt = performance.now() - startedMs > STABLE_MS || !failed ? 0 : attempt + 1;
    await pause(backoffMs(timing, attempt), signal);
  }
  state.writesSummary = false;
  while (!signal.aborted) await pause(IDLE_MS, signal);
}

async function define(
  dependencies: SupervisorDependencies,
  retry: <T>(step: string, work: () => Promise<T>) => Promise<T | null>,
): Promise<void> {
  const { log, rules } = dependencies;
  const defined = await retry("define the auction", () => rules.applyLatest());
  if (defined === null) return;
  if (defined.outcome === "defined") log.info("auction defined");
  setServing(dependencies);
}

function setServing({ state, metrics }: SupervisorDependencies): void {
  state.phase = "serving";
  metrics.storeLost.set(0);
}

/** One turn of the lease. @returns whether something failed */
async function runOnce(turn: AcrossTurns, signal: AbortSignal): Promise<boolean> {
  const { store, keys, timing, metrics, log, relayedPositions, refusals, state, holder } = turn;
  const onOther = () => {
    for (const outage of [turn.unread, turn.unserved]) outage.ended();
    relayedPositions.forget();
    state.writesSummary = false;
    for (const work of [PIPELINE, ARCHIVING, TRIMMING]) refusals.served(work);
  };
  const run = async (leased: AbortSignal) => {
    metrics.leaseHeld.set(1);
    return checkAndRun(turn, leased).catch(orFailure);
  };
  const ended = await withLease(
    store,
    keys,
    { holder, leaseMs: timing.leaseMs, onOther },
    run,
    signal,
  );
  metrics.leaseHeld.set(0);
  state.progress = null;
  if (ended === null) return false;
  if (ended.lost) state.writesSummary = false;
  const failure = ended.lost ? new PipelineFailure("lease", "the lease was lost") : ended.result;
  if (failure === null) return false;
  const { reason, message, cause } = failure;
  if (reason === "lease" || reason === "publish" || reason === "superseded") {
    relayedPositions.forget();
  }
  if (cause !== undefined) refusals.failed(PIPELINE, STORE_OF_REASON[reason] ?? "redis", cause);
  metrics.pipelineRestarts.inc({ reason });
  log.warn({ reason, message, err: cause }, "pipeline restarting");
  return true;
}

function orFailure(error: unknown): PipelineFailure {
  if (error instanceof PipelineFailure) return error;
  throw error;
}

/** @returns the failure of the pipeline; null if it did not fail or did not run. @throws any other failure */
async function checkAndRun(
  turn: AcrossTurns,
  leased: AbortSignal,
): Promise<PipelineFailure | null> {
  const { state, waitForBus, refusals, timing, log } = turn;
  if ((await check(turn)) === "removed") {
    state.phase = "removed";
    return null;
  }
  setServing(turn);
  const bus = await Promise.race([waitForBus().catch(() => null), pause(BUS_WAIT_MS, leased)]);
  if (!bus) return null;
  state.writesSummary = true;
  let wasServed = () => false;
  const onStarted = (progress: NonNullable<ProcessState["progress"]>) => {
    const startedMs = performance.now();
    wasServed = () => progress.isDelivered || performance.now() - startedMs > timing.streamGoneMs;
    state.progress = progress;
    refusals.served(PIPELINE);
    log.info({ watermark: progress.archivedId }, "pipeline started");
  };
  const failure = await runPipeline({ ...turn, bus }, onStarted, leased);
  state.lastFailure = failure?.reason ?? null;
  const isUnserved = failure?.reason === "stalled" || isOfStream(failure?.cause);
  if (!isUnserved || wasServed()) turn.unserved.ended();
  else await giveUpUnservedStream(turn, bus, failure!, leased);
  return failure;
}

/** @throws PipelineFailure, which names the stream if the check could not read it for long; a defect */
async function check(turn: AcrossTurns): ReturnType<typeof checkStore> {
  const { auctionUid, relayedPositions, currentBus, unread, unserved } = turn;
  try {
    const checked = await failing("check", checkStore(turn, relayedPositions));
    unread.ended();
    return checked;
  } catch (error) {
    unserved.ended();
    const { message, cause } = orFailure(error);
    const bus = currentBus();
    if (bus === null || !isOfStream(cause)) unread.ended();
    else if (await unread.failed(bus))
      throw new PipelineFailure("bus", message, unreadable(auctionUid, message));
    throw error;
  }
}

/** The stream may be the only copy of acknowledged bids: a person decides whether to delete it. */
function unreadable(auctionUid: string, why: string): StoreRefused {
  return new StoreRefused(
    `stream ${streamNameOf(auctionUid)} cannot be read (${why}), and may be the only copy of acknowledged bids: ` +
      "start the NATS server that holds it; only if that is gone for good, delete the stream",
  );
}

/**
 * Gives up a stream that JetStream does not serve for long. The next run creates it again, and relays from the outbox
 * what is not archived.
 */
async function giveUpUnservedStream(
  turn: AcrossTurns,
  bus: Bus,
  { reason, message }: PipelineFailure,
  leased: AbortSignal,
): Promise<void> {
  const { auctionUid, unserved, metrics, log } = turn;
  if (!(await unserved.failed(bus)) || leased.aborted) return;
  // Redis may have lost its latest events meanwhile.
  if ((await check(turn)) !== "confirmed" || leased.aborted) return;
  await failing("bus", abandonStream(bus, auctionUid));
  unserved.ended();
  metrics.streamsGivenUp.inc();
  log.error({ reason, message }, "stream given up: JetStream does not serve it");
}

/** Retries until it succeeds. Null after the signal aborted. @throws a defect */
async function retryUntilDone<T>(
  step: string,
  work: () => Promise<T>,
  { refusals, timing, log }: Pick<SupervisorDependencies, "refusals" | "timing" | "log">,
  signal: AbortSignal,
): Promise<T | null> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    try {
      const result = await work();
      refusals.served(step);
      return result;
    } catch (error) {
      refusals.failed(step, "postgres", error);
      log.warn({ err: error, step }, "step failed: retrying");
      await pause(backoffMs(timing, attempt), signal);
    }
  }
  return null;
}
