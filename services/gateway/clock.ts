/**
 * Opens and closes lots at their times, by Redis's clock. Every gateway runs this loop; the holder of the lease
 * does the work. The lease only avoids double work: the scripts are idempotent, and a late clock decides no bid
 * wrongly (place-bids.lua opens a lot itself and rejects late bids).
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { isUnavailable } from "../access/error-class.ts";
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { holdLease, releaseLease } from "../store/lease.ts";
import { advanceDueLots } from "../store/lot-changes.ts";
import { readAuction, readLots } from "../store/lots.ts";
import type { Metrics } from "./metrics.ts";

/** The longest interruption after a holder has crashed. */
const LEASE_TTL_MS = 5_000;
/** The shortest pause between two turns: a lot that cannot be closed must not make the loop spin. */
const PAUSE_MIN_MS = 20;
/** The longest pause between two turns: it bounds the delay of a changed schedule, and renews the lease. */
const PAUSE_MAX_MS = 500;
const BACKOFF_MAX_MS = 2_000;
/** Failures in a row before a log line: the first turns of a process may come before its connection. */
const REPORTED_FAILURES = 3;

interface ClockOptions {
  readonly store: Store;
  readonly keys: Keys;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, "clockHeld" | "clockLateness" | "internalErrors">;
}

/** Starts the loop. @returns what ends it and releases the lease */
export function startClock(options: ClockOptions): () => Promise<void> {
  const { store, keys, log } = options;
  const holder = `${hostname()}-${process.pid}-${randomUUID()}`;
  const stopping = new AbortController();
  const ended = run(options, holder, stopping.signal);
  return async () => {
    stopping.abort();
    await ended;
    try {
      await releaseLease(store, keys, "clock", holder);
    } catch (error) {
      log.info({ err: error }, "lot clock lease not released: it expires");
    }
  };
}

async function run(options: ClockOptions, holder: string, signal: AbortSignal): Promise<void> {
  const { log, metrics } = options;
  let failures = 0;
  while (!signal.aborted) {
    let pauseMs: number;
    try {
      pauseMs = await turn(options, holder);
      if (failures >= REPORTED_FAILURES) log.info({ failures }, "lot clock resumed");
      failures = 0;
    } catch (error) {
      metrics.clockHeld.set(0);
      failures++;
      if (!isUnavailable(error)) reportDefect(options, error);
      else if (failures === REPORTED_FAILURES) log.warn({ err: error }, "lot clock stalled");
      pauseMs = Math.random() * Math.min(BACKOFF_MAX_MS, 50 * 2 ** Math.min(failures, 10));
    }
    await pause(Math.max(PAUSE_MIN_MS, pauseMs), signal);
  }
  metrics.clockHeld.set(0);
}

/** A defect raises an alert and does not stop the gateway: bids need no lot clock, and another gateway may run it. */
function reportDefect({ log, metrics }: ClockOptions, error: unknown): void {
  metrics.internalErrors.inc();
  log.error({ err: error }, "lot clock failed: defect");
}

/** One turn. @returns the time until the next one */
async function turn(options: ClockOptions, holder: string): Promise<number> {
  const { store, keys, metrics } = options;
  const held = await holdLease(store, keys, "clock", holder, LEASE_TTL_MS);
  metrics.clockHeld.set(held ? 1 : 0);
  if (!held) return PAUSE_MAX_MS;

  const { opened, closed, nextMs, nowMs } = await advanceDueLots(store, keys);
  if (opened.length + closed.length > 0) await report(options, opened, closed);
  return nextMs === null ? PAUSE_MAX_MS : Math.min(PAUSE_MAX_MS, nextMs - nowMs);
}

async function report(
  { store, keys, log, metrics }: ClockOptions,
  opened: readonly string[],
  closed: readonly string[],
): Promise<void> {
  const auction = await readAuction(store, keys);
  if (auction === null) return;
  // An opened lot may have bids by now: then the time of its last event is not that of its opening.
  for (const lot of await readLots(store, keys, auction, opened)) {
    if (lot === null || lot.opensAtMs === null) continue;
    if (lot.seq === 1) metrics.clockLateness.open.observe((lot.atMs - lot.opensAtMs) / 1000);
    log.info({ lotId: lot.lotId }, "lot opened");
  }
  for (const lot of await readLots(store, keys, auction, closed)) {
    if (lot === null || lot.closesAtMs === null) continue;
    metrics.clockLateness.close.observe((lot.atMs - lot.closesAtMs) / 1000);
    log.info({ lotId: lot.lotId, bidCount: lot.bidCount }, "lot closed");
  }
}
