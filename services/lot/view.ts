/** The public view of a lot: over HTTP, and in a viewer's snapshot. */
import { reserveMet } from "./decide.ts";
import type { LotEvent, Outcome } from "./events.ts";
import { minimumBidMinor } from "./increments.ts";
import { result } from "./lifecycle.ts";
import type { LeadingBid, Lot, LotStatus } from "./lot.ts";

export interface LotView {
  readonly lotId: string;
  readonly title: string;
  readonly status: LotStatus;
  /** The auction is suspended; the lot closes later by the length of the suspension. */
  readonly suspended: boolean;
  /** The minimum amount of the next bid. */
  readonly minimumMinor: number;
  readonly leadingBid: LeadingBid | null;
  readonly bidCount: number;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  readonly extensions: number;
  /** Null if there is no reserve, it is hidden, or there is no bid yet. */
  readonly reserveMet: boolean | null;
  /** Only where it is public. */
  readonly reserveMinor: number | null;
  /** Once closed. */
  readonly outcome: Outcome | null;
  readonly epoch: number;
  readonly seq: number;
}

export function viewOf(lot: Lot): LotView {
  const { lotId, title, status, leadingBid, bidCount, opensAtMs, closesAtMs, extensions } = lot;
  return {
    lotId,
    title,
    status,
    suspended: lot.intake === "suspended",
    minimumMinor: minimumBidMinor(lot, leadingBid),
    leadingBid,
    bidCount,
    opensAtMs,
    closesAtMs,
    extensions,
    reserveMet: leadingBid && reserveMet(lot, leadingBid.amountMinor),
    reserveMinor: lot.rules.reserveDisclosure === "Public" ? lot.reserveMinor : null,
    outcome: status === "closed" ? result(lot).outcome : null,
    epoch: lot.epoch,
    seq: lot.seq,
  };
}

/** An event as viewers get it: without the bidder's idempotency key, which is secret. */
export function publicEventOf(event: LotEvent): Omit<LotEvent, "key"> {
  if (event.type !== "bid_accepted") return event;
  const { key: _, ...shown } = event;
  return shown;
}
