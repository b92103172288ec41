/**
 * How a bid is decided: the specification of `store/place-bids.lua`, which decides atomically inside Redis. The
 * optimistic strategy and the checker use this function.
 */
import type { LotEvent } from "./events.ts";
import { maximumBidMinor, minimumBidMinor, stepMinorAt } from "./increments.ts";
import type { Bid, Lot } from "./lot.ts";
import { apply } from "./lifecycle.ts";
import { MAX_MINOR } from "./money.ts";

export type Rejection =
  "withdrawn" | "not_open" | "closed" | "suspended" | "too_low" | "too_high" | "jump_too_large";

type Decision =
  | {
      readonly accepted: true;
      /** The events to record, in this order; at least one. */
      readonly events: readonly LotEvent[];
      /** The lot after the events. */
      readonly lot: Lot;
    }
  | {
      readonly accepted: false;
      readonly rejection: Rejection;
      /** What may be bid: from the minimum to the maximum. */
      readonly minimumMinor: number;
      readonly maximumMinor: number;
    };

/**
 * Decides one bid on one lot at one instant. Pure: the clock is an argument.
 * The order of the rules is part of the contract: a late bid is `closed`, however low it is.
 */
export function decide(lot: Lot, bid: Bid, clockMs: number): Decision {
  const nowMs = Math.max(clockMs, lot.atMs);
  const leastMinor = minimumBidMinor(lot, lot.leadingBid);
  const reject = (rejection: Rejection): Decision => ({
    accepted: false,
    rejection,
    minimumMinor: leastMinor,
    maximumMinor: maximumBidMinor(lot.rules, leastMinor),
  });

  if (lot.status === "withdrawn") return reject("withdrawn");
  if (lot.status === "closed" || lot.intake === "fenced") return reject("closed");
  if (lot.intake === "suspended") return reject("suspended");
  if (lot.opensAtMs === null || lot.closesAtMs === null || nowMs < lot.opensAtMs) {
    return reject("not_open");
  }
  if (nowMs >= lot.closesAtMs) return reject("closed");
  if (bid.amountMinor < leastMinor) return reject("too_low");
  if (isTooHigh(lot, bid.amountMinor, leastMinor)) return reject("too_high");
  if (bid.amountMinor > maximumBidMinor(lot.rules, leastMinor)) return reject("jump_too_large");

  const events: LotEvent[] = [];
  let after = lot;
  const record = (event: LotEvent): void => {
    events.push(event);
    after = apply(after, event);
  };
  const common = () => ({ lotId: lot.lotId, epoch: lot.epoch, seq: after.seq + 1, atMs: nowMs });

  if (lot.status === "scheduled") {
    record({
      type: "lot_opened",
      ...common(),
      opensAtMs: lot.opensAtMs,
      closesAtMs: lot.closesAtMs,
      minimumMinor: leastMinor,
    });
  }
  const closesAtMs = closeAfter(lot, lot.closesAtMs, nowMs);
  record({
    type: "bid_accepted",
    ...common(),
    bidId: bid.bidId,
    bidderId: bid.bidderId,
    amountMinor: bid.amountMinor,
    minimumMinor: minimumBidMinor(lot, bid),
    closesAtMs,
    reserveMet: reserveMet(lot, bid.amountMinor),
    key: bid.key,
  });
  if (closesAtMs !== lot.closesAtMs) {
    record({ type: "lot_extended", ...common(), closesAtMs, extensions: lot.extensions + 1 });
  }
  return { accepted: true, events, lot: after };
}

/** Above what the rules allow, or so high that the next minimum would exceed 2^53 − 1. */
function isTooHigh({ rules }: Lot, amountMinor: number, leastMinor: number): boolean {
  if (amountMinor > Math.max(rules.maxAmountMinor, leastMinor)) return true;
  return amountMinor > MAX_MINOR - stepMinorAt(rules.increments, amountMinor);
}

/** The closing time after a bid at `nowMs`: anti-sniping extends it for a late bid. */
function closeAfter({ rules, extensions }: Lot, closesAtMs: number, nowMs: number): number {
  const { windowMs, extensionMs, maxExtensions } = rules.antiSniping;
  const late = windowMs > 0 && closesAtMs - nowMs <= windowMs && extensions < maxExtensions;
  return late ? Math.max(closesAtMs, nowMs + extensionMs) : closesAtMs;
}

/** Whether the reserve is met; null if there is no reserve or it is hidden. */
export function reserveMet(lot: Lot, amountMinor: number): boolean | null {
  if (lot.reserveMinor === null || lot.rules.reserveDisclosure === "Hidden") return null;
  return amountMinor >= lot.reserveMinor;
}
