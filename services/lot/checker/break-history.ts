/** Breaks a history or its log in one small way, at random; what comes out may still be right. */
import type { BidAccepted, LotEvent } from "../events.ts";
import type { BidRecord, HistoryRecord, ReadRecord, RejectionCode } from "./history.ts";
import type { Random } from "./random-history.ts";

export interface Broken {
  readonly history: readonly HistoryRecord[];
  readonly log: readonly LotEvent[];
}

type Loose = Record<string, unknown>;

const CODES: RejectionCode[] = [
  "too_low",
  "closed",
  "not_open",
  "withdrawn",
  "too_high",
  "jump_too_large",
  "key_reused",
];

/** Every way to break, each by itself plausible: what a bug, a race or a bad disk would do. */
const WAYS: ((sample: Broken, random: Random) => Broken)[] = [
  ({ history, log }, random) => ({ log, history: changed(history, random, shifted) }),
  ({ history, log }, random) => ({ log, history: history.map((one) => shifted(one, random)) }),
  ({ history, log }, random) => ({ log, history: changed(history, random, answeredOtherwise) }),
  ({ history, log }, random) => ({ log, history: changed(history, random, renumbered) }),
  ({ history, log }, random) => ({ log, history: dropped(history, random) }),
  ({ history, log }, random) => ({ log, history: doubled(history, random) }),
  ({ history, log }, random) => ({ history, log: dropped(log, random) }),
  ({ history, log }) => ({ history, log: log.slice(0, -1) }),
  ({ history, log }, random) => ({ history, log: swapped(log, random) }),
  ({ history, log }, random) => ({ history, log: doubled(log, random) }),
  ({ history, log }, random) => ({ history, log: changed(log, random, eventChanged) }),
];

export function breakHistory(sample: Broken, random: Random): Broken {
  return pick(WAYS, random)(sample, random);
}

const pick = <T>(from: readonly T[], random: Random): T =>
  from[Math.floor(random() * from.length)]!;
const some = (random: Random, most: number): number => Math.floor((random() * 2 - 1) * (most + 1));

function changed<T>(all: readonly T[], random: Random, change: (one: T, random: Random) => T): T[] {
  const at = Math.floor(random() * all.length);
  return all.map((one, i) => (i === at ? change(one, random) : one));
}

function dropped<T>(all: readonly T[], random: Random): T[] {
  return all.toSpliced(Math.floor(random() * all.length), 1);
}

function doubled<T>(all: readonly T[], random: Random): T[] {
  const at = Math.floor(random() * all.length);
  return all.length === 0 ? [] : all.toSpliced(at, 0, { ...all[at]! });
}

/** Two neighbours change places in the log, and take each other's seq. */
function swapped(log: readonly LotEvent[], random: Random): LotEvent[] {
  if (log.length < 2) return [...log];
  const at = Math.floor(random() * (log.length - 1));
  const [a, b] = [log[at]!, log[at + 1]!];
  return log.toSpliced(at, 2, { ...b, seq: a.seq }, { ...a, seq: b.seq });
}

/** Sent or answered at another time. */
function shifted(record: HistoryRecord, random: Random): HistoryRecord {
  if (record.op !== "bid" && record.op !== "read") return record;
  const invMs = record.invMs + some(random, 25);
  const retMs = record.retMs === null ? null : Math.max(invMs, record.retMs + some(random, 25));
  return { ...record, invMs, retMs } as HistoryRecord;
}

function answeredOtherwise(record: HistoryRecord, random: Random): HistoryRecord {
  if (record.op === "read") return { ...record, status: pick(["open", "closed"], random) };
  if (record.op !== "bid") return record;
  const { op, process, lotId, bidderId, key, amountMinor, invMs } = record;
  const placed = { op, process, lotId, bidderId, key, amountMinor, invMs };
  const retMs = record.retMs ?? invMs + 5;
  const way = random();
  if (way < 0.15) return { ...placed, outcome: "refused", retMs };
  if (way < 0.3) return { ...placed, outcome: "unknown", retMs: null };
  if (way < 0.5) return { ...placed, outcome: "rejected", retMs, code: pick(CODES, random) };
  return { ...record, ...pick(changesOf(record), random) } as BidRecord;
}

function changesOf(record: BidRecord): Loose[] {
  const { amountMinor, bidderId, key } = record;
  const changes: Loose[] = [
    { amountMinor: amountMinor + 10 },
    { amountMinor: Math.max(1, amountMinor - 10) },
    { bidderId: `${bidderId}x` },
    { key: `${key}x` },
  ];
  if (record.outcome === "accepted") {
    const { bidId, placedAtMs, closesAtMs, minimumMinor } = record;
    changes.push({ bidId: `${bidId}x` }, { placedAtMs: placedAtMs + 1 });
    changes.push({ closesAtMs: closesAtMs + 1 }, { minimumMinor: minimumMinor + 10 });
  }
  if (record.outcome === "rejected" && record.minimumMinor !== undefined) {
    changes.push({ minimumMinor: record.minimumMinor + 10 });
  }
  return changes;
}

/** Judged, or placed, at another event. */
function renumbered(record: HistoryRecord, random: Random): HistoryRecord {
  if (!("seq" in record) || record.seq === undefined) return record;
  const least = record.op === "bid" && record.outcome === "accepted" ? 1 : 0;
  return { ...record, seq: Math.max(least, record.seq + some(random, 2)) } as
    BidRecord | ReadRecord;
}

function eventChanged(event: LotEvent, random: Random): LotEvent {
  const changes: Loose[] = [{ atMs: event.atMs + 1 }, { atMs: Math.max(0, event.atMs - 1) }];
  switch (event.type) {
    case "bid_accepted":
      changes.push(...bidChanges(event));
      break;
    case "lot_extended":
      changes.push({ extensions: event.extensions + 1 }, { closesAtMs: event.closesAtMs + 1 });
      break;
    case "lot_closed":
      changes.push({ outcome: "no_bids" }, { outcome: "sold" }, { bidId: "other" });
      break;
    case "lot_opened":
      changes.push({ minimumMinor: event.minimumMinor + 1 });
  }
  return { ...event, ...pick(changes, random) } as LotEvent;
}

function bidChanges(event: BidAccepted): Loose[] {
  return [
    { amountMinor: event.amountMinor + 10 },
    { amountMinor: Math.max(1, event.amountMinor - 10) },
    { bidderId: `${event.bidderId}x` },
    { key: `${event.key}x` },
    { bidId: `${event.bidId}x` },
    { minimumMinor: event.minimumMinor + 1 },
    { closesAtMs: event.closesAtMs + 1 },
    { reserveMet: event.reserveMet === null ? true : !event.reserveMet },
  ];
}
