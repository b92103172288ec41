import type { Bus } from "../../bus/connect.ts";
import { purgeBefore } from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import { type Store, storeClockMs } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { trimOutbox } from "../../store/outbox.ts";
import type { Refusals } from "../refusals.ts";
import type { Progress } from "./progress.ts";
import type { Retention } from "./retention.ts";

/** The name of this work in the list of refusals. */
export const TRIMMING = "trim";

const TRIM_EVERY_MS = 250;
/** Trims at least this often, even if nothing new was archived, because retention also depends on age. */
const TRIM_IDLE_MS = 10_000;

interface TrimDependencies {
  readonly auctionUid: string;
  readonly store: Store;
  readonly keys: Keys;
  readonly bus: Bus;
  readonly refusals: Refusals;
  readonly log: Logger;
}

/**
 * Writes the watermark to Redis, and trims the outbox and the stream to their retention. Returns after the
 * signal aborts. @throws a defect
 */
export async function keepTrimmed(
  { auctionUid, store, keys, bus, refusals, log }: TrimDependencies,
  progress: Progress,
  retention: Retention,
  signal: AbortSignal,
): Promise<void> {
  let writtenId: string | null = null;
  let writtenAtMs = 0;
  let isFailing = false;
  const trim = async (): Promise<void> => {
    const { archivedId } = progress;
    const isRecent = performance.now() - writtenAtMs < TRIM_IDLE_MS;
    if (archivedId === writtenId && isRecent) return;
    try {
      const keep = retention.keepFrom(await storeClockMs(store), archivedId);
      await trimOutbox(store, keys, archivedId, keep.minId);
      if (keep.streamSeq !== null) await purgeBefore(bus, auctionUid, keep.streamSeq);
      [writtenId, writtenAtMs] = [archivedId, performance.now()];
      refusals.served(TRIMMING);
      isFailing = false;
    } catch (error) {
      refusals.failed(TRIMMING, "redis", error);
      if (!isFailing) log.warn({ err: error }, "trimming failed: retrying");
      isFailing = true;
    }
  };
  while (!signal.aborted) {
    await trim();
    await pause(TRIM_EVERY_MS, signal);
  }
  await trim();
}
