/** A lot's bids, newest first: recent ones come from the store, older ones from the archive. */
import { Value } from "typebox/value";
import { ProblemError } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import { isUnavailable } from "../access/error-class.ts";
import type { BidAccepted } from "../lot/events.ts";
import type { Breaker } from "../runtime/breaker.ts";
import type { Store } from "../store/connect.ts";
import { eventsBefore } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import type { Position } from "../lot/position.ts";
import { type History, HistoryAnswer } from "./schemas.ts";

/** Every answer is due within a second. */
const ARCHIVAL_TIMEOUT_MS = 900;

/** An archival tier that hangs must not delay every request for old bids by a second. */
export const ARCHIVAL_BREAKER = {
  failures: 5,
  waitMs: 200,
  waitMaxMs: 2_000,
  isOutage: isUnavailable,
} as const;
/**
 * Reads of the store for one page, and entries of the first read; each further read takes twice as many. One entry
 * may hold the events of 256 bids: as many entries as the page has bids could be a hundred times too many.
 */
const MAX_READS = 8;
const FIRST_ENTRIES = 4;

interface HistoryOptions {
  readonly store: Store;
  readonly keys: Keys;
  readonly archivalUrl: string;
  /** The circuit breaker of the archival tier. */
  readonly archival: Breaker;
}

/**
 * One page, wholly from the store or wholly from the archive: an outage of the archive affects only the pages that
 * the store does not have.
 * @param before exclusive; null begins with the newest bid
 * @throws ProblemError `unavailable` when the archive has the page and cannot be reached
 */
export async function readHistory(
  options: HistoryOptions,
  lotId: string,
  before: Position | null,
  limit: number,
): Promise<History> {
  const recent = await readRecent(options, lotId, before, limit);
  return recent ?? (await readArchived(options, lotId, before, limit));
}

/** Null if the store has none of the page's bids and the archive may have some. */
async function readRecent(
  { store, keys }: HistoryOptions,
  lotId: string,
  before: Position | null,
  limit: number,
): Promise<History | null> {
  const bids: BidAccepted[] = [];
  let at = before;
  for (let reads = 0; reads < MAX_READS && bids.length < limit; reads++) {
    const entries = Math.min(limit, FIRST_ENTRIES << reads);
    const { events, complete } = await eventsBefore(store, keys, lotId, at, entries);
    bids.push(...events.filter((event) => event.type === "bid_accepted"));
    at = events.at(-1) ?? at;
    if (complete && bids.length <= limit) return { bids: bids.map(shown), nextCursor: null };
    if (events.length === 0) break;
  }
  if (bids.length === 0) return null;
  const page = bids.slice(0, limit);
  const next = bids.length >= limit ? page.at(-1)! : at!;
  return { bids: page.map(shown), nextCursor: cursorOf(next) };
}

function shown({ bidId, bidderId, amountMinor, epoch, seq, atMs: placedAtMs }: BidAccepted) {
  return { bidId, bidderId, amountMinor, epoch, seq, placedAtMs };
}

async function readArchived(
  { archivalUrl, archival }: HistoryOptions,
  lotId: string,
  before: Position | null,
  limit: number,
): Promise<History> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (before !== null) query.set("before", cursorOf(before));
  const url = new URL(`/internal/v1/lots/${lotId}/bids?${query}`, archivalUrl);
  const text = await askArchival(archival, url);
  return Value.Parse(HistoryAnswer, JSON.parse(text));
}

/** Statuses of an archival tier, or of a proxy in front of it, that is not available. Any other error is a defect. */
const NOT_SERVING = new Set([502, 503, 504]);

/** @throws ProblemError `unavailable` where archival does not answer or does not serve; a defect */
async function askArchival(archival: Breaker, url: URL): Promise<string> {
  let why: unknown;
  try {
    const { status, text } = await archival.call(async () => {
      const signal = AbortSignal.timeout(ARCHIVAL_TIMEOUT_MS);
      const answer = await fetch(url, { redirect: "error", signal });
      return { status: answer.status, text: await answer.text() };
    });
    if (status === 200) return text;
    why = new Error(`archival answered ${status}`);
    if (!NOT_SERVING.has(status)) throw why;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    why = error;
  }
  const detail = "Older bids are in the archive, which cannot be reached at the moment.";
  throw new ProblemError(problem("unavailable", detail), why);
}

/** A page's cursor: "<epoch>.<seq>". */
function cursorOf({ epoch, seq }: Position): string {
  return `${epoch}.${seq}`;
}

/** Parses a cursor that has passed its schema. */
export function positionOf(cursor: string): Position {
  const [epoch, seq] = cursor.split(".").map(Number);
  return { epoch: epoch!, seq: seq! };
}
