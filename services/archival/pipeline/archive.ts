/** The second half of the pipeline: JetStream → Postgres. */
import type { Bus } from "../../bus/connect.ts";
import type { Delivery } from "../../bus/entry.ts";
import { type BatchLimits, Puller } from "../../bus/pull.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import type { InvariantMonitor } from "../invariants/invariant-monitor.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import type { Batch, DeadLetter } from "../postgres/batch.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Tails } from "../postgres/lot-tails.ts";
import { recordBatch, type Recorded } from "../postgres/record-batch.ts";
import type { Refusals } from "../refusals.ts";
import { WatermarkMoved } from "../postgres/watermark.ts";
import { failing, PipelineFailure } from "./pipeline-failure.ts";
import type { Progress } from "./progress.ts";
import type { Retention } from "./retention.ts";
import { EventGap, buildBatch } from "./build-batch.ts";
import { backoffMs, type Timing } from "./timing.ts";
import { traceBatch } from "./trace-archive.ts";

/** The name of this work in the list of refusals. */
export const ARCHIVING = "archive";

const BATCH: BatchLimits = { messages: 500, bytes: 4 * 1024 * 1024, lingerMs: 50 };

interface ArchiveDependencies {
  readonly auctionUid: string;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly tails: Tails;
  readonly retention: Retention;
  readonly timing: Timing;
  readonly metrics: ArchivalMetrics;
  readonly monitor: InvariantMonitor;
  readonly refusals: Refusals;
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

/**
 * Writes the messages of JetStream to Postgres, batch by batch, until the signal aborts; it finishes the
 * current batch. A message is acknowledged after COMMIT.
 * While Postgres is away or refuses, it keeps the current batch and retries: the relay continues, so that
 * acknowledged events are on two disks.
 * @throws PipelineFailure, or a defect: the current batch was written whole or not at all, and is not acknowledged
 */
export async function archiveEntries(
  dependencies: ArchiveDependencies,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const { auctionUid, bus } = dependencies;
  const puller = await failing("bus", Puller.start(bus, auctionUid));
  try {
    while (!signal.aborted) {
      const deliveries = await failing("bus", puller.next(BATCH, signal));
      if (deliveries.length === 0) continue;
      progress.delivered();
      await archiveBatch(dependencies, progress, deliveries, signal);
    }
  } finally {
    await puller.stop();
  }
}

async function archiveBatch(
  dependencies: ArchiveDependencies,
  progress: Progress,
  deliveries: readonly Delivery[],
  signal: AbortSignal,
): Promise<void> {
  const { auctionUid, tails, retention, monitor, tracing } = dependencies;
  const { batch, newTails } = buildBatchReportingGaps(
    deliveries,
    progress.archivedId,
    tails,
    monitor,
  );
  if (batch.entries.length + batch.letters.length > 0) {
    const startedMs = performance.now();
    const endTrace = traceBatch(tracing, auctionUid, deliveries, batch);
    const recorded = await recordWithRetries(dependencies, progress, batch, signal).catch(
      (error: Error) => {
        endTrace?.(error);
        throw error;
      },
    );
    endTrace?.(null);
    monitor.check(batch, recorded);
    countRecorded(dependencies, batch, recorded, performance.now() - startedMs);
  }
  for (const [lotId, tail] of newTails) tails.lots.set(lotId, tail);
  for (const delivery of deliveries) {
    delivery.ack();
    const { outboxId, streamSeq, body } = delivery;
    if (outboxId !== null) retention.archived(outboxId, streamSeq, body.length);
  }
  if (batch.toId !== batch.fromId) progress.archived(batch.toId);
}

function buildBatchReportingGaps(
  deliveries: readonly Delivery[],
  fromId: string,
  tails: Tails,
  monitor: InvariantMonitor,
): ReturnType<typeof buildBatch> {
  try {
    return buildBatch(deliveries, fromId, tails);
  } catch (error) {
    if (error instanceof EventGap) monitor.foundGap(error);
    throw error;
  }
}

/** Retries until Postgres takes the batch. @throws PipelineFailure: "archive" only after the signal aborted; a defect */
async function recordWithRetries(
  { auctionUid, archive, refusals, timing, log }: ArchiveDependencies,
  progress: Progress,
  batch: Batch,
  signal: AbortSignal,
): Promise<Recorded> {
  for (let attempt = 0; ; attempt++) {
    try {
      const recorded = await recordBatch(archive, auctionUid, batch);
      refusals.served(ARCHIVING);
      return recorded;
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof WatermarkMoved) throw new PipelineFailure("superseded", message, error);
      refusals.failed(ARCHIVING, "postgres", error);
      if (attempt === 0) log.warn({ err: error }, "batch not archived: retrying");
      progress.archiveUnavailable();
      await pause(backoffMs(timing, attempt), signal);
      if (signal.aborted) throw new PipelineFailure("archive", message, error);
    }
  }
}

function countRecorded(
  { metrics, log }: ArchiveDependencies,
  batch: Batch,
  { inserted, repeated, letters }: Recorded,
  tookMs: number,
): void {
  metrics.batchSeconds.observe(tookMs / 1000);
  metrics.batchEvents.observe(inserted + repeated);
  for (const { outboxId } of batch.entries) metrics.archiveDelay.observe(outboxId);
  metrics.events.inc(inserted);
  metrics.repeatedEvents.inc(repeated);
  reportLetters(metrics, log, letters);
}

export function reportLetters(
  metrics: ArchivalMetrics,
  log: Logger,
  letters: readonly DeadLetter[],
): void {
  for (const { reason, lotId, outboxId, detail } of letters) {
    metrics.deadLetters.inc({ reason });
    if (reason === "conflict") metrics.conflicts.inc();
    log.error({ reason, lotId, outboxId, detail }, "dead letter stored");
  }
}
