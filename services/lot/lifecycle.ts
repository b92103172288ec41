/** How a lot opens, closes and is withdrawn, and how each event changes it. */
import type { LotClosed, LotEvent } from "./events.ts";
import { minimumBidMinor } from "./increments.ts";
import type { Lot } from "./lot.ts";

/** The events that are due at `clockMs`: an opening, a close, or both. */
export function due(lot: Lot, clockMs: number): LotEvent[] {
  const nowMs = Math.max(clockMs, lot.atMs);
  const { lotId, epoch, opensAtMs, closesAtMs } = lot;
  if (opensAtMs === null || closesAtMs === null || lot.intake !== "taking") return [];
  const events: LotEvent[] = [];
  const common = () => ({ lotId, epoch, seq: lot.seq + events.length + 1, atMs: nowMs });

  if (lot.status === "scheduled" && nowMs >= opensAtMs) {
    const leastMinor = minimumBidMinor(lot, null);
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
 * The events that are due when a suspended auction resumes at `clockMs`: open lots close later by the length of the
 * suspension. A lot whose opening time has passed opens now; a lot that was over before does not change.
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
    const leastMinor = minimumBidMinor(lot, null);
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

/** The result: the leading bid wins when it meets the reserve. */
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

/** The lot after its next event. */
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
