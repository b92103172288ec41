/**
 * The pipeline: relay and archive run as one, under one lease, from one watermark. When either fails, both end
 * and start again at the watermark in Postgres. A restart repeats work and skips nothing.
 */
import type { Bus } from "../../bus/connect.ts";
import { payloadObstacle } from "../../bus/entry.ts";
import { readStream } from "../../bus/read-stream.ts";
import {
  ensureStream,
  isRefusedForReplicas,
  lastReadSeq,
  purgeBefore,
  replaceConsumer,
} from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import { connectStore, type Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { ENTRY_MAX_BYTES } from "../../store/place-bids.ts";
import { readRunId } from "../../store/server-identity.ts";
import { StoreRefused } from "../../store/unreachable.ts";
import type { InvariantMonitor } from "../invariants/invariant-monitor.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import { type Archive, STATEMENT_TIMEOUT_MS } from "../postgres/connection.ts";
import { insertLoss } from "../postgres/dead-letters.ts";
import { recordBatch } from "../postgres/record-batch.ts";
import { readTails, type Tails } from "../postgres/lot-tails.ts";
import { readOrCreateWatermark } from "../postgres/watermark.ts";
import type { Refusals } from "../refusals.ts";
import { archiveEntries, reportLetters } from "./archive.ts";
import { foreignBatch } from "./build-batch.ts";
import { keepTrimmed } from "./keep-trimmed.ts";
import { failing, PipelineFailure } from "./pipeline-failure.ts";
import { Progress } from "./progress.ts";
import { READ_BLOCK_MS, relayEntries } from "./relay.ts";
import type { RelayedPositions } from "./relayed-positions.ts";
import { Retention } from "./retention.ts";
import type { Timing } from "./timing.ts";

/** A blocking read is answered within its block, unless the connection is dead. */
const READ_TIMEOUT_MS = READ_BLOCK_MS + 2_000;

/** Longer than any batch takes, so that JetStream does not redeliver what the archive still has. */
const ACK_WAIT_MS = 3 * STATEMENT_TIMEOUT_MS;

/** How often the pipeline checks for a Redis that lost data while the connection stayed open. */
const CHECK_STORE_EVERY_MS = 500;

export interface PipelineDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly bus: Bus;
  readonly archive: Archive;
  /** The limit of outbox and stream. A quarter may be between relay and archive, a quarter is retained. */
  readonly maxBytes: number;
  /** Of the stream. */
  readonly replicas: number;
  readonly timing: Timing;
  readonly relayedPositions: RelayedPositions;
  readonly metrics: ArchivalMetrics;
  readonly monitor: InvariantMonitor;
  readonly refusals: Refusals;
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

/**
 * Runs the pipeline until the signal aborts or something fails.
 * @param onStarted gets the progress of this run
 * @returns the failure; null after the signal aborted
 * @throws a defect, after everything has ended
 */
export async function runPipeline(
  dependencies: PipelineDependencies,
  onStarted: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<PipelineFailure | null> {
  const ending = new AbortController();
  let failure: unknown = null;
  const fail = (error: unknown): void => {
    if (!ending.signal.aborted || !(error instanceof PipelineFailure)) failure = error;
    ending.abort();
  };
  const stop = () => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  const { bus, maxBytes, timing } = dependencies;
  const reader = connectStore(dependencies.readStoreUrl, "archival-relay", READ_TIMEOUT_MS);
  reader.on("error", () => {}); // Its commands reject with the same error.
  ending.signal.addEventListener("abort", () => reader.disconnect(), { once: true });
  const onBusLost = () => fail(new PipelineFailure("bus", "lost NATS"));
  bus.onLost.add(onBusLost);
  try {
    if (signal.aborted) return null;
    await failing("store", reader.connect());
    const { watermark, tails, lastSeq } = await prepareRun(dependencies);
    const progress = new Progress(watermark);
    const retention = new Retention(timing.retainMs, maxBytes / 4);
    const run = { ...dependencies, reader, tails, lastSeq, retention, maxAheadBytes: maxBytes / 4 };
    onStarted(progress);
    const loops = [
      relayEntries(run, progress, fail, ending.signal),
      archiveEntries(run, progress, ending.signal),
      keepTrimmed(dependencies, progress, retention, ending.signal),
      failOnStall(timing, progress, ending.signal),
      failOnUncheckedStore(dependencies, ending.signal),
    ];
    await Promise.all(loops.map((loop) => loop.catch(fail)));
  } catch (error) {
    fail(error);
  } finally {
    ending.abort();
    bus.onLost.delete(onBusLost);
    signal.removeEventListener("abort", stop);
  }
  if (failure !== null && !(failure instanceof PipelineFailure)) throw failure;
  return signal.aborted ? null : failure;
}

interface Start {
  readonly watermark: string;
  readonly tails: Tails;
  /** The newest message of the stream. */
  readonly lastSeq: number;
}

/**
 * Reads the watermark, from which the relay publishes again, and places the consumer after the newest message of
 * the stream. It also records lost entries and foreign messages, and starts the invariant monitor.
 */
async function prepareRun(dependencies: PipelineDependencies): Promise<Start> {
  const { auctionUid, store, keys, archive, monitor } = dependencies;
  const auction = await failing("store", readAuction(store, keys));
  if (auction === null) throw new PipelineFailure("store", "the store has no auction");
  const watermark = await failing("archive", readOrCreateWatermark(archive, auctionUid));
  await recordLoss(dependencies, watermark, auction.trimmedId);
  const tails = await failing("archive", readTails(archive, auctionUid));
  await failing("archive", monitor.begin(archive, auctionUid, tails, watermark));
  return { watermark, tails, lastSeq: await prepareStream(dependencies, watermark) };
}

/** Entries that were trimmed from the outbox before they were archived are lost: the pipeline continues after them. */
async function recordLoss(
  { auctionUid, archive, metrics, log }: PipelineDependencies,
  watermark: string,
  trimmedId: string,
): Promise<void> {
  if (compareIds(trimmedId, watermark) <= 0) return;
  metrics.losses.inc();
  log.error({ watermark, trimmedId }, "outbox entries lost before they were archived");
  await failing("archive", insertLoss(archive, auctionUid, watermark, trimmedId));
}

/** @returns the newest message of the stream; the consumer begins after it */
async function prepareStream(
  dependencies: PipelineDependencies,
  watermark: string,
): Promise<number> {
  const { auctionUid, bus, maxBytes, replicas } = dependencies;
  const obstacle = payloadObstacle(bus, ENTRY_MAX_BYTES);
  if (obstacle !== null) throw refusedByNats(obstacle);
  // The bodies of retained messages and of those between relay and archive have at most `maxBytes`. The limit is
  // twice that, because JetStream counts subjects and headers, too.
  const stream = ensureStream(bus, auctionUid, { maxBytes: 2 * maxBytes, replicas });
  const { lastSeq, bytes } = await failing(
    "bus",
    stream.catch((error: Error) => {
      if (isRefusedForReplicas(error))
        throw refusedByNats(`${replicas} replicas: ${error.message}`);
      throw error;
    }),
  );
  const startSeq = lastSeq + 1;
  await failing("bus", recordUnread(dependencies, watermark));
  // Every message on the stream is archived, is a dead letter, or is relayed again from the outbox.
  if (bytes > maxBytes / 2) await failing("bus", purgeBefore(bus, auctionUid, startSeq));
  await failing("bus", replaceConsumer(bus, auctionUid, startSeq, ACK_WAIT_MS));
  return lastSeq;
}

function refusedByNats(why: string): PipelineFailure {
  return new PipelineFailure("bus", why, new StoreRefused(why));
}

/**
 * Handles what the last run did not read from the stream: the new consumer begins after it. The relay publishes its own
 * messages again; foreign messages become dead letters now.
 */
async function recordUnread(
  { auctionUid, bus, archive, metrics, log }: PipelineDependencies,
  watermark: string,
): Promise<void> {
  const fromSeq = (await lastReadSeq(bus, auctionUid)) + 1;
  for await (const deliveries of readStream(bus, auctionUid, fromSeq)) {
    const batch = foreignBatch(deliveries, watermark);
    if (batch.letters.length === 0) continue;
    const { letters } = await failing("archive", recordBatch(archive, auctionUid, batch));
    reportLetters(metrics, log, letters);
  }
}

async function failOnStall(
  { stallMs }: Timing,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    if (progress.stalledMs > stallMs) {
      throw new PipelineFailure("stalled", `nothing archived after ${progress.archivedId}`);
    }
    await pause(stallMs / 10, signal);
  }
}

/**
 * Ends the pipeline when the store must be checked, which happens before the next run. It reads the auction
 * itself: the observer is too slow for it, and tolerates an outage, which the pipeline must not.
 */
async function failOnUncheckedStore(
  { store, keys }: PipelineDependencies,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(CHECK_STORE_EVERY_MS, signal);
    if (signal.aborted) return;
    const [auction, server] = await failing(
      "store",
      Promise.all([readAuction(store, keys), readRunId(store)]),
    );
    if (auction === null) throw new PipelineFailure("store", "the store has no auction any more");
    if (auction.confirmedServer !== server || auction.ahead.size > 0) {
      throw new PipelineFailure("store", "the store must be checked");
    }
  }
}
