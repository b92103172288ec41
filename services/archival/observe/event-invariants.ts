/**
 * The continuous audit: each event that is archived, compared with what its lot was before. It changes
 * nothing and stops nothing: what it finds is counted, and told. What a lot was is read from Postgres when the
 * archive begins, so that a restart forgets nothing that it could find by.
 */
import type { LotEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import { follows, isBehind, type Position, START } from "../../lot/position.ts";

export const VIOLATION_KINDS = [
  "sequence", // an event is missing between two of a lot, without a dead letter that accounts for it
  "epoch", // an event of an earlier epoch than the one before it
  "conflict", // another event is archived under its seq
  "time", // it happened before the one before it
  "amount", // a bid below the minimum that the event before it announced
  "after_close", // something happened to a lot that was over
  "result", // a lot was closed with another result than its bids have
] as const;
export type ViolationKind = (typeof VIOLATION_KINDS)[number];

export interface Violation extends Position {
  readonly kind: ViolationKind;
  readonly lotId: string;
  readonly detail: string;
}

/** A lot after its latest archived event; what an event did not say is null. */
export interface AuditedLot extends Position {
  readonly atMs: number;
  readonly status: LotStatus;
  readonly closesAtMs: number | null;
  /** The least the next bid may be. */
  readonly minimumMinor: number | null;
  readonly leading: { readonly bidId: string; readonly amountMinor: number } | null;
  /** Events are known to be missing after it: what they changed is not known. */
  readonly holed: boolean;
}

const UNOPENED: AuditedLot = {
  ...START,
  atMs: 0,
  status: "scheduled",
  closesAtMs: null,
  minimumMinor: null,
  leading: null,
  holed: false,
};

export class Audit {
  #lots: Map<string, AuditedLot>;
  /** All lots have a hole before their next event: the outbox was trimmed too far. */
  readonly #allHoled: boolean;

  constructor(lots: Iterable<readonly [string, AuditedLot]> = [], allHoled = false) {
    this.#lots = new Map(lots);
    this.#allHoled = allHoled;
  }

  /** What lies next in this lot went to the dead letters: its seq is no violation of the one after it. */
  hole(lotId: string): void {
    this.#lots.set(lotId, { ...this.#lot(lotId), holed: true });
  }

  #lot(lotId: string): AuditedLot {
    return this.#lots.get(lotId) ?? { ...UNOPENED, holed: this.#allHoled };
  }

  /** Takes the next event of its lot. @returns what is wrong with it */
  check(event: LotEvent): Violation[] {
    const { lotId, epoch, seq } = event;
    const lot = this.#lot(lotId);
    const found = violationsOf(lot, event);
    // One that goes back moves nothing: those after it are compared with the furthest.
    if (isBehind(lot, event)) this.#lots.set(lotId, after(lot, event));
    return found.map(([kind, detail]) => ({ kind, lotId, epoch, seq, detail }));
  }
}

type Found = [kind: ViolationKind, detail: string];

function violationsOf(lot: AuditedLot, event: LotEvent): Found[] {
  if (event.epoch < lot.epoch) return [["epoch", `after ${lot.epoch}.${lot.seq}`]];
  const found: Found[] = [];
  // A new epoch begins above all that was known; a hole may be of any size.
  const mayLeaveGap = lot.holed || (lot.epoch !== START.epoch && event.epoch > lot.epoch);
  if (!follows(event, lot) && !(mayLeaveGap && event.seq > lot.seq)) {
    found.push(["sequence", `after ${lot.epoch}.${lot.seq}`]);
  }
  if (event.atMs < lot.atMs) found.push(["time", `at ${event.atMs} after ${lot.atMs}`]);
  // What lies in a hole may have opened, extended or closed the lot; only what cannot be undone holds.
  const isOver = lot.status === "closed" || lot.status === "withdrawn";
  if (isOver) found.push(["after_close", `${event.type} of a lot that is ${lot.status}`]);
  const isKnown = !lot.holed && event.epoch === lot.epoch;
  if (event.type === "bid_accepted") found.push(...violationsOfBid(lot, event, isKnown));
  if (event.type === "lot_closed" && isKnown) found.push(...violationsOfResult(lot, event));
  return found;
}

function violationsOfBid(
  { minimumMinor, leading, closesAtMs }: AuditedLot,
  { amountMinor, atMs }: Extract<LotEvent, { type: "bid_accepted" }>,
  isKnown: boolean,
): Found[] {
  const found: Found[] = [];
  // Amounts only rise, so the minimum before a hole is one after it, too.
  const least = Math.max(minimumMinor ?? 0, (leading?.amountMinor ?? 0) + 1);
  if (amountMinor < least)
    found.push(["amount", `${amountMinor}, and at least ${least} was asked`]);
  if (isKnown && closesAtMs !== null && atMs >= closesAtMs) {
    found.push(["after_close", `a bid at ${atMs} on a lot that closed at ${closesAtMs}`]);
  }
  return found;
}

function violationsOfResult(
  { leading }: AuditedLot,
  { outcome, bidId, amountMinor }: Extract<LotEvent, { type: "lot_closed" }>,
): Found[] {
  const isRight =
    outcome === "sold"
      ? leading?.bidId === bidId && leading?.amountMinor === amountMinor
      : outcome === "no_bids"
        ? leading === null
        : leading !== null;
  if (isRight) return [];
  return [["result", `${outcome} by ${bidId}, and ${leading?.bidId ?? "no bid"} leads`]];
}

const STATUS_AFTER: Partial<Record<LotEvent["type"], LotStatus>> = {
  lot_opened: "open",
  lot_closed: "closed",
  lot_withdrawn: "withdrawn",
};

function after(lot: AuditedLot, event: LotEvent): AuditedLot {
  const { epoch, seq } = event;
  // Whoever put the lot back under a new epoch may have moved its close.
  const closesAtMs = lot.holed || epoch !== lot.epoch ? null : lot.closesAtMs;
  return {
    epoch,
    seq,
    atMs: Math.max(lot.atMs, event.atMs),
    holed: false,
    status: STATUS_AFTER[event.type] ?? lot.status,
    closesAtMs: "closesAtMs" in event ? event.closesAtMs : closesAtMs,
    minimumMinor: "minimumMinor" in event ? event.minimumMinor : lot.minimumMinor,
    leading: event.type === "bid_accepted" ? event : lot.leading,
  };
}
