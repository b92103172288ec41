/**
 * What clients saw, as the checker reads it. `invMs` is when a request was sent, `retMs` when it was answered: one JSON object a line. All `…Ms` of a record itself are of
 * one monotonic clock, that of the machine which recorded; fractions are allowed. What the auction said
 * (`placedAtMs`, `closesAtMs`, a frame's times) is by Redis's clock, which is another one.
 */
import { isMinor } from "../money.ts";
import type { Position } from "../position.ts";

export type RejectionCode =
  | "too_low"
  | "closed"
  | "not_open"
  | "withdrawn"
  | "suspended"
  | "too_high"
  | "jump_too_large"
  | "key_reused";

interface SentBid {
  readonly op: "bid";
  /** The client process that sent it. A process sends one request at a time. */
  readonly process: number;
  readonly lotId: string;
  readonly bidderId: string;
  /** The idempotency key. A retry is a further record with the same lot, bidder and key. */
  readonly key: string;
  readonly amountMinor: number;
  /** When it was sent. */
  readonly invMs: number;
}

/** 201. */
export interface AcceptedBid extends SentBid, Position {
  readonly outcome: "accepted";
  readonly retMs: number;
  readonly bidId: string;
  readonly placedAtMs: number;
  readonly closesAtMs: number;
  readonly minimumMinor: number;
}

/** A refusal that is final: 4xx of the rules. */
export interface RejectedBid extends SentBid {
  readonly outcome: "rejected";
  readonly retMs: number;
  readonly code: RejectionCode;
  /** As of the event it was judged at, where the answer says so. */
  readonly minimumMinor?: number;
  readonly epoch?: number;
  readonly seq?: number;
}

/** 503 `unavailable`, or never sent: nothing was decided. */
interface RefusedBid extends SentBid {
  readonly outcome: "refused";
  readonly retMs: number;
}

/** 503 `unknown`, a time-out, a broken connection. Null: it was never answered. */
export interface UnknownBid extends SentBid {
  readonly outcome: "unknown";
  readonly retMs: number | null;
}

export type BidRecord = AcceptedBid | RejectedBid | RefusedBid | UnknownBid;

/** `GET /v1/lots/{lotId}`. */
export interface ReadRecord extends Position {
  readonly op: "read";
  readonly lotId: string;
  readonly invMs: number;
  readonly retMs: number;
  /** Of the leading bid; null without one. */
  readonly leadingMinor: number | null;
  readonly bidId: string | null;
  readonly status: string;
}

/** Anything that a viewer's socket brought, as received. */
export interface FrameRecord {
  readonly op: "frame";
  readonly viewer: number;
  /** 1, 2, 3 … of this viewer. */
  readonly connection: number;
  readonly atMs: number;
  readonly frame: Readonly<Record<string, unknown>> & { readonly type: string };
}

/** A viewer's socket was opened, and subscribed with `since`; null if it did not resume. */
export interface ConnectedRecord {
  readonly op: "connected";
  readonly viewer: number;
  readonly connection: number;
  readonly since: Readonly<Record<string, Position>> | null;
}

export type HistoryRecord = BidRecord | ReadRecord | FrameRecord | ConnectedRecord;

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === "string" && value.length > 0;
const ms: Check = (value) => typeof value === "number" && Number.isFinite(value);
const count: Check = (value) => isMinor(value) && value > 0;
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const oneOf =
  (...words: string[]): Check =>
  (value) =>
    words.includes(value as string);
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

const POSITION = { epoch: isMinor, seq: isMinor };
const SENT_BID = {
  process: isMinor,
  lotId: text,
  bidderId: text,
  key: text,
  amountMinor: count,
  invMs: ms,
};

/** By `op`, and a bid by its outcome. */
const FIELDS: Record<string, Record<string, Check>> = {
  accepted: {
    ...SENT_BID,
    retMs: ms,
    bidId: text,
    epoch: count,
    seq: count,
    placedAtMs: ms,
    closesAtMs: ms,
    minimumMinor: count,
  },
  rejected: {
    ...SENT_BID,
    retMs: ms,
    code: oneOf(
      "too_low",
      "closed",
      "not_open",
      "withdrawn",
      "suspended",
      "too_high",
      "jump_too_large",
      "key_reused",
    ),
    minimumMinor: optional(count),
    epoch: optional(isMinor),
    seq: optional(isMinor),
  },
  refused: { ...SENT_BID, retMs: ms },
  unknown: { ...SENT_BID, retMs: orNull(ms) },
  read: {
    lotId: text,
    invMs: ms,
    retMs: ms,
    ...POSITION,
    leadingMinor: orNull(count),
    bidId: orNull(text),
    status: text,
  },
  frame: {
    viewer: isMinor,
    connection: isMinor,
    atMs: ms,
    frame: (value) => isObject(value) && text(value["type"]),
  },
  connected: {
    viewer: isMinor,
    connection: isMinor,
    since: orNull(
      (value) =>
        isObject(value) &&
        Object.values(value).every(
          (at) => isObject(at) && isMinor(at["epoch"]) && isMinor(at["seq"]),
        ),
    ),
  },
};

/** Reads one line. @throws Error naming what is wrong with it */
export function decodeRecord(line: string): HistoryRecord {
  const record: unknown = JSON.parse(line);
  if (!isObject(record)) throw new Error("a record must be an object");
  const { op, outcome } = record;
  if (!["bid", "read", "frame", "connected"].includes(op as string)) {
    throw new Error(`unknown op ${JSON.stringify(op)}`);
  }
  const kind = op === "bid" ? outcome : op;
  if (op === "bid" && !["accepted", "rejected", "refused", "unknown"].includes(kind as string)) {
    throw new Error(`bid: unknown outcome ${JSON.stringify(outcome)}`);
  }
  for (const [field, isGood] of Object.entries(FIELDS[kind as string]!)) {
    if (!isGood(record[field])) throw new Error(`${String(op)}: bad ${field}`);
  }
  const { invMs, retMs } = record;
  if (typeof retMs === "number" && retMs < (invMs as number)) {
    throw new Error(`${String(op)}: retMs is before invMs`);
  }
  return record as unknown as HistoryRecord;
}

/** Reads JSONL, given line by line; empty lines are passed over. @throws Error naming the line */
export function* decodeHistory(lines: Iterable<string>): Generator<HistoryRecord> {
  let number = 0;
  for (const line of lines) {
    number++;
    if (line.trim() === "") continue;
    try {
      yield decodeRecord(line);
    } catch (error) {
      throw new Error(`line ${number}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** One line, without its end. */
export const encodeRecord = (record: HistoryRecord): string => JSON.stringify(record);
