// Applies events to lots as viewers see them. Pure: page-rules.test.ts fails where it differs from lot/lifecycle.ts.

/** Whether position `b` is after position `a`. */
export function isAfter(b, a) {
  return b.epoch > a.epoch || (b.epoch === a.epoch && b.seq > a.seq);
}

/** The lot after an event; the same lot for an event that it has already; null where events are missing. */
export function applyEvent(lot, event) {
  if (!isAfter(event, lot)) return lot;
  if (event.epoch !== lot.epoch || event.seq !== lot.seq + 1) return null;
  const after = { ...lot, seq: event.seq };
  switch (event.type) {
    case "lot_opened": {
      const { opensAtMs, closesAtMs, minimumMinor } = event;
      return { ...after, status: "open", opensAtMs, closesAtMs, minimumMinor };
    }
    case "bid_accepted": {
      const { bidId, bidderId, amountMinor, minimumMinor, closesAtMs, reserveMet } = event;
      const leadingBid = { bidId, bidderId, amountMinor };
      const bidCount = lot.bidCount + 1;
      return { ...after, leadingBid, minimumMinor, closesAtMs, reserveMet, bidCount };
    }
    case "lot_extended":
      return { ...after, closesAtMs: event.closesAtMs, extensions: event.extensions };
    case "lot_closed":
      return { ...after, status: "closed", outcome: event.outcome };
    case "lot_withdrawn":
      return { ...after, status: "withdrawn" };
    default:
      return after;
  }
}
