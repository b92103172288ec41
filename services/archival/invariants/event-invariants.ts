/**
 * The invariants that each archived event must keep, given its lot before the event. Pure. The lots are read
 * from Postgres when the pipeline starts, so a restart misses no violation.
 */
import type { LotEvent } from "../../lot/events.ts";
import type { LotStatus } from "../../lot/lot.ts";
import { follows, isBehind, type Position, START } from "../../lot/position.ts";
import type { MonitoredLot } from "../postgres/monitored-lots.ts";

export const VIOLATION_KINDS = [
  "sequence", // an event of the lot is missing before it, and no dead letter explains that
  "epoch", // its epoch is lower than that of the event before
  "conflict", // another event is archived at its position
  "time", // its time is before that of the event before
  "amount", // a bid below the minimum that the event before announced
  "after_close", // an event of a lot that was over
  "result", // the result of the lot differs from its bids
] as const;
export type ViolationKind = (typeof VIOLATION_KINDS)[number];

interface Violation extends Position {
  readonly kind: ViolationKind;
  readonly lotId: string;
  readonly detail: string;
}

/** A lot after its latest archived event. */
export interface LotBefore extends MonitoredLot {
  /** The events after it are recorded as missing: what they changed is not known. */
  readonly knownGap: boolean;
}

const UNOPENED: LotBefore = {
  ...START,
  atMs: 0,
  status: "scheduled",
  closesAtMs: null,
  minimumMinor: null,
  leading: null,
  knownGap: false,
};

export class EventInvariants {
  #lots: Map<string, LotBefore>;
  /** Every lot may have a gap before its next event: the outbox was trimmed too far. */
  readonly #allHaveGap: boolean;

  constructor(lots: Iterable<readonly [string, LotBefore]> = [], allHaveGap = false) {
    this.#lots = new Map(lots);
    this.#allHaveGap = allHaveGap;
  }

  /** The next events of this lot are dead letters: a gap after them is no violation. */
  expectGap(lotId: string): void {
    this.#lots.set(lotId, { ...this.#lot(lotId), knownGap: true });
  }

  #lot(lotId: string): LotBefore {
    return this.#lots.get(lotId) ?? { ...UNOPENED, knownGap: this.#allHaveGap };
  }

  /** Checks the next event of its lot. @returns its violations */
  check(event: LotEvent): Violation[] {
    const { lotId, epoch, seq } = event;
    const lot = this.#lot(lotId);
    const found = violationsOf(lot, event);
    // An event at an earlier position does not move the lot back.
    if (isBehind(lot, event)) this.#lots.set(lotId, after(lot, event));
    return found.map(([kind, detail]) => ({ kind, lotId, epoch, seq, detail }));
  }
}

type Found = [kind: ViolationKind, detail: string];

function violationsOf(lot: LotBefore, event: LotEvent): Found[] {
  if (event.epoch < lot.epoch) return [["epoch", `after ${lot.epoch}.${lot.seq}`]];
  const found: Found[] = [];
  // A new epoch begins above every known seq; a known gap may have any size.
  const mayLeaveGap = lot.knownGap || (lot.epoch !== START.epoch && event.epoch > lot.epoch);
  if (!follows(event, lot) && !(mayLeaveGap && event.seq > lot.seq)) {
    found.push(["sequence", `after ${lot.epoch}.${lot.seq}`]);
  }
  if (event.atMs < lot.atMs) found.push(["time", `at ${event.atMs} after ${lot.atMs}`]);
  // The events in a gap may have opened, extended or closed the lot. Only what cannot be undone is known.
  const isOver = lot.status === "closed" || lot.status === "withdrawn";
  if (isOver) found.push(["after_close", `${event.type} of a lot that is ${lot.status}`]);
  const isKnown = !lot.knownGap && event.epoch === lot.epoch;
  if (event.type === "bid_accepted") found.push(...violationsOfBid(lot, event, isKnown));
  if (event.type === "lot_closed" && isKnown) found.push(...violationsOfResult(lot, event));
  return found;
}

function violationsOfBid(
  { minimumMinor, leading, closesAtMs }: LotBefore,
  { amountMinor, atMs }: Extract<LotEvent, { type: "bid_accepted" }>,
  isKnown: boolean,
): Found[] {
  const found: Found[] = [];
  // Amounts only rise, so the minimum before a gap holds after it.
  const minimum = Math.max(minimumMinor ?? 0, (leading?.amountMinor ?? 0) + 1);
  if (amountMinor < minimum)
    found.push(["amount", `${amountMinor}, and the minimum was ${minimum}`]);
  if (isKnown && closesAtMs !== null && atMs >= closesAtMs) {
    found.push(["after_close", `a bid at ${atMs} on a lot that closed at ${closesAtMs}`]);
  }
  return found;
}

function violationsOfResult(
  { leading }: LotBefore,
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

function after(lot: LotBefore, event: LotEvent): LotBefore {
  const { epoch, seq } = event;
  // A restore under a new epoch may have moved the close.
  const closesAtMs = lot.knownGap || epoch !== lot.epoch ? null : lot.closesAtMs;
  return {
    epoch,
    seq,
    atMs: Math.max(lot.atMs, event.atMs),
    knownGap: false,
    status: STATUS_AFTER[event.type] ?? lot.status,
    closesAtMs: "closesAtMs" in event ? event.closesAtMs : closesAtMs,
    minimumMinor: "minimumMinor" in event ? event.minimumMinor : lot.minimumMinor,
    leading: event.type === "bid_accepted" ? event : lot.leading,
  };
}
