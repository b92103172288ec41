/**
 * The events of a lot. An event is encoded once, by `encodeEvent`; the outbox, JetStream and the archive hold the
 * same bytes. store/lot-functions.lua writes the same text, with the fields in the order below; a test compares
 * the two.
 */
import { isMinor } from "./money.ts";

interface Common {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;
  /** Time of the event, by Redis's clock. */
  readonly atMs: number;
}

export interface LotOpened extends Common {
  readonly type: "lot_opened";
  readonly opensAtMs: number;
  readonly closesAtMs: number;
  readonly minimumMinor: number;
}

export interface BidAccepted extends Common {
  readonly type: "bid_accepted";
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
  /** The minimum amount of the next bid. */
  readonly minimumMinor: number;
  /** The closing time after this bid: later than before when it came within the anti-sniping window. */
  readonly closesAtMs: number;
  /** Null if there is no reserve, or it is hidden. */
  readonly reserveMet: boolean | null;
  /** The bidder's idempotency key. Never shown to viewers. */
  readonly key: string;
}

/** Follows the bid that caused the extension; or the seller moved the close, which is not counted. */
export interface LotExtended extends Common {
  readonly type: "lot_extended";
  readonly closesAtMs: number;
  readonly extensions: number;
}

export type Outcome = "sold" | "reserve_not_met" | "no_bids";

export interface LotClosed extends Common {
  readonly type: "lot_closed";
  readonly outcome: Outcome;
  /** The winning bid, when sold. */
  readonly bidId: string | null;
  readonly bidderId: string | null;
  readonly amountMinor: number | null;
}

interface LotWithdrawn extends Common {
  readonly type: "lot_withdrawn";
}

export type LotEvent = LotOpened | BidAccepted | LotExtended | LotClosed | LotWithdrawn;

type Check = (value: unknown) => boolean;

const count: Check = (value) => isMinor(value) && value > 0;
const text: Check = (value) => typeof value === "string" && value.length > 0;
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);
const outcome: Check = (value) =>
  value === "sold" || value === "reserve_not_met" || value === "no_bids";

const COMMON = { lotId: text, epoch: count, seq: count, atMs: isMinor };

/** The fields of each event after `type`, in the order they are written. */
const FIELDS: Record<LotEvent["type"], Record<string, Check>> = {
  lot_opened: { ...COMMON, opensAtMs: isMinor, closesAtMs: isMinor, minimumMinor: count },
  bid_accepted: {
    ...COMMON,
    bidId: text,
    bidderId: text,
    amountMinor: count,
    minimumMinor: count,
    closesAtMs: isMinor,
    reserveMet: orNull((value) => typeof value === "boolean"),
    key: text,
  },
  lot_extended: { ...COMMON, closesAtMs: isMinor, extensions: isMinor },
  lot_closed: {
    ...COMMON,
    outcome,
    bidId: orNull(text),
    bidderId: orNull(text),
    amountMinor: orNull(count),
  },
  lot_withdrawn: { ...COMMON },
};

export const EVENT_TYPES = Object.keys(FIELDS) as LotEvent["type"][];

/** The text of an event: JSON without spaces, `type` first, then the fields in order. */
export function encodeEvent(event: LotEvent): string {
  const values = event as unknown as Record<string, unknown>;
  const ordered: Record<string, unknown> = { type: event.type };
  for (const field of Object.keys(FIELDS[event.type])) ordered[field] = values[field];
  return JSON.stringify(ordered);
}

/** A text that is not an event: another program wrote to a store. */
export class UnreadableEvent extends Error {
  override readonly name = "UnreadableEvent";
}

/** Decodes an event. @throws UnreadableEvent that names the fault: a retry cannot help */
export function decodeEvent(eventText: string): LotEvent {
  const event = parse(eventText);
  if (typeof event !== "object" || event === null)
    throw new UnreadableEvent("an event must be an object");
  const values = event as Record<string, unknown>;
  const type = values["type"] as LotEvent["type"];
  const fields = Object.hasOwn(FIELDS, String(type)) ? FIELDS[type] : undefined;
  if (!fields) throw new UnreadableEvent(`unknown event type ${JSON.stringify(type)}`);
  for (const [field, check] of Object.entries(fields)) {
    if (!check(values[field])) throw new UnreadableEvent(`${type}: bad ${field}`);
  }
  return event as LotEvent;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UnreadableEvent((error as Error).message, { cause: error });
  }
}

/**
 * The text of the events that one script call recorded for a lot: one event a line. An outbox entry, a JetStream
 * message and an entry of a lot's own stream each hold such a text.
 */
export function decodeEvents(lines: string): LotEvent[] {
  return lines.split("\n").map(decodeEvent);
}

export function encodeEvents(events: readonly LotEvent[]): string {
  return events.map(encodeEvent).join("\n");
}
