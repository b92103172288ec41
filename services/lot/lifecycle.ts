/** How a lot opens, closes and is withdrawn, and what each event makes of it. */
import type { LotClosed, LotEvent } from "./events.ts";
import { minimumMinor } from "./increments.ts";
import type { Lot } from "./lot.ts";

/** The events due at `clockMs`: an opening, a close, both for a lot whose time passed unseen. */
export function due(lot: Lot, clockMs: number): LotEvent[] {
  const nowMs = Math.max(clockMs, lot.atMs);
  const { lotId, epoch, opensAtMs, closesAtMs } = lot;
  if (opensAtMs === null || closesAtMs === null || lot.intake !== "taking") return [];
  const events: LotEvent[] = [];
  const common = () => ({ lotId, epoch, seq: lot.seq + events.length + 1, atMs: nowMs });

  if (lot.status === "scheduled" && nowMs >= opensAtMs) {
    const leastMinor = minimumMinor(lot, null);
    events.push({
      type: "lot_opened",
      ...common(),
      opensAtMs,
      closesAtMs,
      minimumMinor: leastMinor,
    });
  }
  const open = lot.status === "open" || events.length > 0;
  if (open && nowMs >= closesAtMs) {
    events.push({ type: "lot_closed", ...common(), ...result(lot) });
  }
  return events;
}

/**
 * The events due when a suspended auction goes on at `clockMs`: bidding has as long as it would have had.
 * A lot whose opening came meanwhile opens now; one that was over before is left as it is.
 */
export function resumed(lot: Lot, suspendedAtMs: number, clockMs: number): LotEvent[] {
  const { lotId, epoch, opensAtMs, closesAtMs, status, extensions } = lot;
  const nowMs = Math.max(clockMs, lot.atMs);
  if (status === "closed" || status === "withdrawn" || opensAtMs === null || closesAtMs === null) {
    return [];
  }
  if (clockMs < opensAtMs || closesAtMs <= suspendedAtMs) return [];
  const lostMs = clockMs - Math.max(suspendedAtMs, opensAtMs);
  if (lostMs <= 0) return [];
  const events: LotEvent[] = [];
  const common = () => ({ lotId, epoch, seq: lot.seq + events.length + 1, atMs: nowMs });
  if (status === "scheduled") {
    const leastMinor = minimumMinor(lot, null);
    const times = { opensAtMs, closesAtMs, minimumMinor: leastMinor };
    events.push({ type: "lot_opened", ...common(), ...times });
  }
  events.push({
    type: "lot_extended",
    ...common(),
    closesAtMs: closesAtMs + lostMs,
    extensions,
  });
  return events;
}

/** Who won, for how much: the leading bid, where it meets the reserve. */
export function result(
  lot: Lot,
): Pick<LotClosed, "outcome" | "bidId" | "bidderId" | "amountMinor"> {
  const { leadingBid, reserveMinor } = lot;
  const none = { bidId: null, bidderId: null, amountMinor: null };
  if (leadingBid === null) return { outcome: "no_bids", ...none };
  if (reserveMinor !== null && leadingBid.amountMinor < reserveMinor) {
    return { outcome: "reserve_not_met", ...none };
  }
  return { outcome: "sold", ...leadingBid };
}

/** The lot after an event. The event must be the lot's next: seq follows seq. */
export function apply(lot: Lot, event: LotEvent): Lot {
  const { epoch, seq, atMs } = event;
  const after = { ...lot, epoch, seq, atMs };
  switch (event.type) {
    case "lot_opened":
      return {
        ...after,
        status: "open",
        opensAtMs: event.opensAtMs,
        closesAtMs: event.closesAtMs,
      };
    case "bid_accepted": {
      const { bidId, bidderId, amountMinor, closesAtMs } = event;
      const leadingBid = { bidId, bidderId, amountMinor };
      return { ...after, leadingBid, closesAtMs, bidCount: lot.bidCount + 1 };
    }
    case "lot_extended":
      return { ...after, closesAtMs: event.closesAtMs, extensions: event.extensions };
    case "lot_closed":
      return { ...after, status: "closed" };
    case "lot_withdrawn":
      return { ...after, status: "withdrawn" };
  }
}
