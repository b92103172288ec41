import type { Bus } from "../../bus/connect.ts";
import type { Delivery } from "../../bus/entry.ts";
import { type BatchLimits, Puller } from "../../bus/pull.ts";
import { isBehind, type Position } from "../../lot/position.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import { compareIds } from "../../store/outbox.ts";
import type { Audited } from "../observe/invariant-monitor.ts";
import { type DeadLetter, readEntry } from "../postgres/dead-letters.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import { failing, PairFailure } from "./pipeline-failure.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Progress } from "./progress.ts";
import { type Batch, type Entry, type Partition, record, type Recorded } from "./record.ts";
import type { Retention } from "./retention.ts";
import { backoffMs, type Timing } from "./timing.ts";
import { traceBatch } from "./trace-archive.ts";
import { isGap, type Tail, type Tails } from "./watermark.ts";

const BATCH: BatchLimits = { messages: 500, bytes: 4 * 1024 * 1024, lingerMs: 50 };

export interface ArchiveTo {
  readonly of: Partition;
  readonly archive: Archive;
  readonly bus: Bus;
  readonly tails: Tails;
  readonly retention: Retention;
  readonly timing: Timing;
  readonly metrics: ArchivalMetrics;
  readonly audited: Audited;
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

/**
 * Writes what comes from JetStream to Postgres, batch by batch, until the signal aborts; the batch in
 * hand is finished. A message is acknowledged after COMMIT.
 * A Postgres that is away is waited for with the batch in hand: the relay goes on meanwhile, so that what
 * is acknowledged lies on two disks.
 * @throws PairFailure: nothing, or one whole batch, was written and not acknowledged
 */
export async function archiveEntries(
  to: ArchiveTo,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const { of, bus } = to;
  const puller = await failing("bus", Puller.start(bus, of.auctionUid, of.partition));
  try {
    while (!signal.aborted) {
      const deliveries = await failing("bus", puller.next(BATCH, signal));
      if (deliveries.length > 0) await archiveBatch(to, progress, deliveries, signal);
    }
  } finally {
    await puller.stop();
  }
}

async function archiveBatch(
  to: ArchiveTo,
  progress: Progress,
  deliveries: readonly Delivery[],
  signal: AbortSignal,
): Promise<void> {
  const { of, tails, retention, metrics, audited, tracing, log } = to;
  const { batch, moved } = sortAudited(deliveries, progress.archivedId, tails, audited);
  if (batch.entries.length + batch.letters.length > 0) {
    const startedMs = performance.now();
    const endTrace = traceBatch(tracing, of, deliveries, batch);
    const recorded = await recordInTime(to, progress, batch, signal).catch((error: Error) => {
      endTrace?.(error);
      throw error;
    });
    endTrace?.(null);
    const { inserted, repeated, letters } = recorded;
    audited.took(batch, recorded);
    metrics.batchSeconds.observe((performance.now() - startedMs) / 1000);
    metrics.batchEvents.observe(inserted + repeated);
    for (const { outboxId } of batch.entries) metrics.archiveDelay.observe(outboxId);
    metrics.events.inc(inserted);
    metrics.repeatedEvents.inc(repeated);
    for (const { reason, lotId, outboxId, detail } of letters) {
      metrics.deadLetters.inc({ reason });
      if (reason === "conflict") metrics.conflicts.inc();
      log.error(
        { reason, lotId, outboxId, detail },
        "could not be archived; kept as a dead letter",
      );
    }
  }
  for (const [lotId, tail] of moved) tails.lots.set(lotId, tail);
  for (const delivery of deliveries) {
    delivery.ack();
    const { outboxId, streamSeq, body } = delivery;
    if (outboxId !== null) retention.archived(outboxId, streamSeq, body.length);
  }
  if (batch.toId !== batch.fromId) progress.archived(batch.toId);
}

function sortAudited(
  deliveries: readonly Delivery[],
  fromId: string,
  tails: Tails,
  audited: Audited,
): ReturnType<typeof sort> {
  try {
    return sort(deliveries, fromId, tails);
  } catch (error) {
    if (error instanceof EventGap) audited.gap(error.lotId, error.epoch, error.seq, error.message);
    throw error;
  }
}

/** Tries until Postgres takes it. @throws PairFailure, "archive" only once the signal aborted */
async function recordInTime(
  { of, archive, timing, log }: ArchiveTo,
  progress: Progress,
  batch: Batch,
  signal: AbortSignal,
): Promise<Recorded> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await record(archive, of, batch);
    } catch (error) {
      if (error instanceof PairFailure) throw error;
      if (attempt === 0) log.warn({ err: error }, "Postgres is away; the relay goes on");
      progress.archiveIsAway();
      await pause(backoffMs(timing, attempt), signal);
      if (signal.aborted) throw new PairFailure("archive", (error as Error).message, error);
    }
  }
}

/**
 * What a batch of messages comes to, beginning at a position in the outbox.
 * @throws PairFailure "gap" where an entry, or an event of a lot, is missing before one of them
 */
export function sort(
  deliveries: readonly Delivery[],
  fromId: string,
  tails: Tails,
): { batch: Batch; moved: Map<string, Tail> } {
  const entries: Entry[] = [];
  const letters: DeadLetter[] = [];
  const moved = new Map<string, Tail>();
  let toId = fromId;

  for (const { lotId, outboxId, afterId, body } of deliveries) {
    if (outboxId === null || afterId === null) {
      const detail = "a message on the stream that the relay did not write";
      letters.push({ reason: "undecodable", detail, lotId, outboxId: null, body });
      continue;
    }
    if (compareIds(outboxId, toId) <= 0) continue; // Delivered again: it is archived, or just above.
    if (afterId !== toId) {
      throw new PairFailure("gap", `entry ${outboxId} comes after ${afterId}, not after ${toId}`);
    }
    toId = outboxId;
    const tail = moved.get(lotId) ?? tails.lots.get(lotId) ?? tails.unknown;
    const read = readEntry(lotId, outboxId, body);
    if (read.readable) {
      entries.push(read.entry);
      moved.set(lotId, tailAfter(read.entry, tail));
    } else {
      letters.push({ reason: "undecodable", detail: read.why, lotId, outboxId, body });
      moved.set(lotId, { ...tail, bridged: true });
    }
  }
  return { batch: { entries, letters, fromId, toId }, moved };
}

/** No entry is missing, but an event is: it never was in the outbox. */
class EventGap extends PairFailure {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;

  constructor(lotId: string, { epoch, seq }: Position, tail: Tail) {
    super("gap", `${lotId} ${epoch}.${seq} comes after ${tail.epoch}.${tail.seq}`);
    this.lotId = lotId;
    this.epoch = epoch;
    this.seq = seq;
  }
}

function tailAfter({ lotId, events }: Entry, before: Tail): Tail {
  let tail = before;
  for (const { event } of events) {
    if (isGap(tail, event)) throw new EventGap(lotId, event, tail);
    const { epoch, seq } = event;
    if (tail.bridged || isBehind(tail, event)) tail = { epoch, seq, bridged: false };
  }
  return tail;
}
