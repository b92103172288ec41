/**
 * Relay and archive, which run as one: by one lease, from one place, and when anything goes wrong with
 * either, both end and begin anew at Postgres's watermark. Beginning anew repeats work and never skips.
 */
import type { Bus } from "../../bus/connect.ts";
import { ensureStream, purgeBefore, replaceConsumer } from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Tracing } from "../../runtime/tracing.ts";
import { connectStore, type Store, storeClockMs } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction } from "../../store/lots.ts";
import { compareIds, trimOutbox } from "../../store/outbox.ts";
import { serverOf } from "../../store/which-server.ts";
import { archiveEntries } from "./archive.ts";
import type { Audited } from "../observe/invariant-monitor.ts";
import { insertLoss } from "../postgres/dead-letters.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import { failing, PairFailure } from "./pipeline-failure.ts";
import { type Archive, STATEMENT_TIMEOUT_MS } from "../postgres/connection.ts";
import { Progress } from "./progress.ts";
import type { Partition } from "./record.ts";
import { READ_BLOCK_MS, relay } from "./relay.ts";
import type { Relayed } from "./relayed-positions.ts";
import { Retention } from "./retention.ts";
import type { Timing } from "./timing.ts";
import { readTails, readWatermark, type Tails } from "./watermark.ts";

/** A read that blocks is answered within its block, unless the connection is dead. */
const READ_TIMEOUT_MS = READ_BLOCK_MS + 2_000;

/** Twice what a statement may take, and more than what a batch takes: nothing in hand comes again. */
const ACK_WAIT_MS = 3 * STATEMENT_TIMEOUT_MS;

/** How soon a store that lost something, without a connection breaking, is seen. */
const LOOK_EVERY_MS = 500;

const TRIM_EVERY_MS = 250;
const TRIM_IDLE_MS = 10_000;

export interface PairOf {
  readonly of: Partition;
  readonly store: Store;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly bus: Bus;
  readonly archive: Archive;
  /** Of the outbox, and of the stream; a quarter of it may be on its way, a quarter is kept. */
  readonly maxBytes: number;
  readonly timing: Timing;
  readonly relayed: Relayed;
  readonly metrics: ArchivalMetrics;
  readonly audited: Audited;
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

/**
 * Runs the pair until the signal aborts, or something fails.
 * @param began is told the run's progress once it is under way
 * @returns what failed; null when it was told to stop
 */
export async function runPair(
  pair: PairOf,
  began: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<PairFailure | null> {
  const ending = new AbortController();
  let failure: PairFailure | null = null;
  const fail = (error: unknown): void => {
    if (!(error instanceof PairFailure)) throw error;
    if (!ending.signal.aborted) failure = error;
    ending.abort();
  };
  const stop = () => ending.abort();
  signal.addEventListener("abort", stop, { once: true });
  const reader = connectStore(pair.readStoreUrl, "archival-relay", READ_TIMEOUT_MS);
  reader.on("error", () => {}); // Its commands fail with it.
  ending.signal.addEventListener("abort", () => reader.disconnect(), { once: true });
  const lost = () => fail(new PairFailure("bus", "lost NATS"));
  pair.bus.onLost.add(lost);
  try {
    if (signal.aborted) return null;
    await failing("store", reader.connect());
    const { watermark, tails, lastSeq } = await begin(pair);
    const progress = new Progress(watermark);
    const { maxBytes, timing } = pair;
    const retention = new Retention(timing.retainMs, maxBytes / 4);
    const from = { ...pair, reader, tails, lastSeq, retention, maxAheadBytes: maxBytes / 4 };
    began(progress);
    const loops = [
      relay(from, progress, fail, ending.signal),
      archiveEntries(from, progress, ending.signal),
      keepTrimmed(pair, progress, retention, ending.signal),
      watchForStalls(timing, progress, ending.signal),
      watchStore(pair, ending.signal),
    ];
    await Promise.all(loops.map((loop) => loop.catch(fail)));
  } catch (error) {
    fail(error);
  } finally {
    ending.abort();
    pair.bus.onLost.delete(lost);
    signal.removeEventListener("abort", stop);
  }
  return signal.aborted ? null : failure;
}

/** Where both begin, by Postgres, with a stream and a consumer to match. */
async function begin({
  of,
  store,
  keys,
  bus,
  archive,
  maxBytes,
  metrics,
  audited,
  log,
}: PairOf): Promise<{ watermark: string; tails: Tails; lastSeq: number }> {
  const auction = await failing("store", readAuction(store, keys));
  if (auction === null) throw new PairFailure("store", "the store does not know the auction");
  const watermark = await failing("archive", readWatermark(archive, of));
  const { trimmedId } = auction;
  if (compareIds(trimmedId, watermark) > 0) {
    metrics.losses.inc();
    log.error(
      { watermark, trimmedId },
      "the outbox no longer has what the archive lacks; going on",
    );
    await failing("archive", insertLoss(archive, of, watermark, trimmedId));
  }
  const tails = await failing("archive", readTails(archive, of));
  await failing("archive", audited.begin(archive, of, tails, watermark));

  // What was kept before, what is kept now and what is on its way come to `maxBytes` at most; the rest is
  // for the names and ids that JetStream counts with each message.
  const stream = ensureStream(bus, of.auctionUid, 2 * maxBytes);
  const { lastSeq, bytes } = await failing("bus", stream);
  const startSeq = lastSeq + 1;
  // Whatever is on the stream is archived, or comes again from the outbox.
  if (bytes > maxBytes / 2) await failing("bus", purgeBefore(bus, of.auctionUid, startSeq));
  const { auctionUid, partition } = of;
  const replaced = replaceConsumer(bus, auctionUid, partition, startSeq, ACK_WAIT_MS);
  await failing("bus", replaced);
  return { watermark, tails, lastSeq };
}

/** Tells Redis what Postgres has committed, and drops what need not be kept, there and on the stream. */
async function keepTrimmed(
  { of, store, keys, bus, log }: PairOf,
  progress: Progress,
  retention: Retention,
  signal: AbortSignal,
): Promise<void> {
  let toldId: string | null = null;
  let toldAtMs = 0;
  const trim = async (): Promise<void> => {
    const { archivedId } = progress;
    const idle = performance.now() - toldAtMs < TRIM_IDLE_MS;
    if (archivedId === toldId && idle) return;
    try {
      const keep = retention.keepFrom(await storeClockMs(store), archivedId);
      await trimOutbox(store, keys, archivedId, keep.minId);
      [toldId, toldAtMs] = [archivedId, performance.now()];
      if (keep.streamSeq !== null) await purgeBefore(bus, of.auctionUid, keep.streamSeq);
    } catch (error) {
      log.warn({ err: error }, "could not trim; trying again");
    }
  };
  while (!signal.aborted) {
    await trim();
    await pause(TRIM_EVERY_MS, signal);
  }
  await trim();
}

async function watchForStalls(
  { stallMs }: Timing,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    if (progress.waitedMs > stallMs) {
      throw new PairFailure("stalled", `nothing archived after ${progress.archivedId}`);
    }
    await pause(stallMs / 10, signal);
  }
}

/** Ends the pair when the store must be checked: that is done before the next one begins. */
async function watchStore({ store, keys }: PairOf, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await pause(LOOK_EVERY_MS, signal);
    if (signal.aborted) return;
    const [auction, server] = await failing(
      "store",
      Promise.all([readAuction(store, keys), serverOf(store)]),
    );
    if (auction === null) throw new PairFailure("store", "the store has no auction any more");
    if (auction.confirmedServer !== server || auction.ahead.size > 0) {
      throw new PairFailure("store", "the store must be checked");
    }
  }
}
