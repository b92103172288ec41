/** Compares the archive's tables with its events, and checks that each event is well formed. */
import { decodeEvent, encodeEvent, type LotEvent } from "../events.ts";
import type { Timeline } from "./timeline.ts";
import type { VerdictName, Verdicts } from "./verdicts.ts";

export interface EventRow {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly type: string;
  readonly atMs: number;
  readonly body: string;
}

export interface BidRow {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly bidId: string;
  readonly bidderId: string;
  readonly key: string;
  readonly amountMinor: number;
  readonly placedAtMs: number;
}

export interface ResultRow {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly outcome: string;
  readonly bidId: string | null;
  readonly bidderId: string | null;
  readonly amountMinor: number | null;
  readonly closedAtMs: number;
}

export interface LotRow {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;
  readonly status: string;
  readonly bidId: string | null;
  readonly bidderId: string | null;
  readonly amountMinor: number | null;
  readonly bidCount: number;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  readonly extensions: number;
}

/** What could not be archived, and has not been since. */
export interface DeadLetterRow {
  readonly deadLetterId: number;
  readonly lotId: string | null;
  readonly reason: string;
  readonly detail: string;
}

export interface ArchiveRows {
  readonly bids: Iterable<BidRow>;
  readonly results: Iterable<ResultRow>;
  readonly lots: Iterable<LotRow>;
  readonly deadLetters: Iterable<DeadLetterRow>;
}

/** The event that a row holds; null, and a verdict, where it holds none. */
export function eventOfRow(row: EventRow, verdicts: Verdicts): LotEvent | null {
  const differ = (detail: string) => verdicts.add("row_differs", row.lotId, detail, [{ ...row }]);
  const place = `${row.epoch}.${row.seq}`;
  let event: LotEvent;
  try {
    event = decodeEvent(row.body);
  } catch (error) {
    differ(`${place}: ${(error as Error).message}`);
    return null;
  }
  if (encodeEvent(event) !== row.body) differ(`${place}: not in the canonical encoding`);
  for (const field of ["lotId", "epoch", "seq", "type", "atMs"] as const) {
    if (row[field] === event[field]) continue;
    differ(`${place}: ${field} is ${row[field]}, and ${event[field]} in the body`);
    return null;
  }
  return event;
}

/** Compares the tables with the rows that the logs lead to. */
export function checkRows(
  rows: ArchiveRows,
  timelines: ReadonlyMap<string, Timeline>,
  verdicts: Verdicts,
): void {
  const events = [...timelines.values()].flatMap((timeline) => timeline.events);
  const bids = events.flatMap((event) => (event.type === "bid_accepted" ? [bidRowOf(event)] : []));
  compareRows("bids_differ", rows.bids, bids, verdicts);
  // Of several closings of one lot, which is wrong in itself, the last one counts.
  const results = new Map<string, ResultRow>();
  for (const event of events) {
    if (event.type !== "lot_closed") continue;
    const { lotId, epoch, seq, outcome, bidId, bidderId, amountMinor, atMs } = event;
    const winner = { bidId, bidderId, amountMinor };
    results.set(lotId, { lotId, epoch, seq, outcome, ...winner, closedAtMs: atMs });
  }
  compareRows("results_differ", rows.results, results.values(), verdicts);
  const lots = [...timelines.values()].filter(({ end }) => end > 0).map(lotRowOf);
  compareRows("lots_differ", rows.lots, lots, verdicts);
  for (const letter of rows.deadLetters) {
    const detail = `dead letter ${letter.deadLetterId}, ${letter.reason}: ${letter.detail}`;
    verdicts.add("dead_letter", letter.lotId ?? "", detail, [{ ...letter }]);
  }
}

function bidRowOf(event: Extract<LotEvent, { type: "bid_accepted" }>): BidRow {
  const { lotId, epoch, seq, bidId, bidderId, key, amountMinor, atMs } = event;
  return { lotId, epoch, seq, bidId, bidderId, key, amountMinor, placedAtMs: atMs };
}

function lotRowOf(timeline: Timeline): LotRow {
  const { lotId, end, events } = timeline;
  const last = events[end - 1]!;
  const leading = timeline.leadingBid(end);
  const opened = events.find((event) => event.type === "lot_opened");
  const closes = timeline.closes[end]!;
  return {
    lotId,
    epoch: last.epoch,
    seq: last.seq,
    status: timeline.status[end]!,
    bidId: leading?.bidId ?? null,
    bidderId: leading?.bidderId ?? null,
    amountMinor: leading?.amountMinor ?? null,
    bidCount: timeline.bidCount[end]!,
    opensAtMs: opened?.opensAtMs ?? null,
    closesAtMs: Number.isNaN(closes) ? null : closes,
    extensions: timeline.extensions[end]!,
  };
}

type Row = BidRow | ResultRow | LotRow;

/** Lots and results have one row a lot; bids one an event. */
const placeOf = (name: VerdictName, { lotId, epoch, seq }: Row): string =>
  name === "bids_differ" ? `${lotId} ${epoch}.${seq}` : lotId;

function compareRows<R extends Row>(
  name: "bids_differ" | "results_differ" | "lots_differ",
  rows: Iterable<R>,
  expected: Iterable<R>,
  verdicts: Verdicts,
): void {
  const missing = new Map<string, R>();
  for (const row of expected) missing.set(placeOf(name, row), row);
  for (const row of rows) {
    const place = placeOf(name, row);
    const wanted = missing.get(place);
    missing.delete(place);
    if (!wanted) {
      verdicts.add(name, row.lotId, `${place}: a row without an event`, [{ ...row }]);
      continue;
    }
    for (const field in wanted) {
      if (row[field] === wanted[field]) continue;
      const detail = `${place}: ${field} is ${String(row[field])}, and must be ${String(wanted[field])}`;
      verdicts.add(name, row.lotId, detail, [{ ...row }]);
      break;
    }
  }
  for (const [place, row] of missing) {
    verdicts.add(name, row.lotId, `${place}: the row is missing`, [{ ...row }]);
  }
}
