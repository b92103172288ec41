/** Checks that each rejection was justified. */
import { stepMinorAt } from "../increments.ts";
import type { LotStatus } from "../lot.ts";
import { MAX_MINOR } from "../money.ts";
import type { RejectedBid, RejectionCode } from "./history.ts";
import type { Order } from "./order.ts";
import type { Timeline } from "./timeline.ts";

/** Redis's clock minus that of the history, as measured, and how wrong that may be. */
export interface Clock {
  readonly offsetMs: number;
  readonly errorMs: number;
}

/** A lot, when its events can have happened, and the clock if it was measured. */
export interface Evidence {
  readonly timeline: Timeline;
  readonly order: Order;
  readonly clock: Clock | null;
  /** Redis's clock never jumped: what it had passed stays passed. */
  readonly steadyClock: boolean;
  /** When all intake ended for good, by Redis's clock. */
  readonly fencedAtMs: number | null;
}

/** Whether a rejection's code may be given while the lot has a status. */
const MAY_BE: Record<RejectionCode, readonly LotStatus[]> = {
  too_low: ["scheduled", "open"],
  too_high: ["scheduled", "open"],
  jump_too_large: ["scheduled", "open"],
  not_open: ["scheduled"],
  closed: ["scheduled", "open", "closed"],
  withdrawn: ["withdrawn"],
  suspended: ["scheduled", "open"],
  key_reused: ["scheduled", "open", "closed", "withdrawn"],
};

/**
 * Judges all codes but `key_reused`, and bounds when the lot's events happened by them.
 * @param logIndex where the answer says it was judged; null if it does not say
 * @returns why it is wrong; or the first log index at which it may have been judged
 */
export function judgeRejection(
  evidence: Evidence,
  bid: RejectedBid,
  logIndex: number | null,
): string | number {
  const { timeline, order } = evidence;
  if (logIndex !== null) {
    const status = timeline.status[logIndex]!;
    if (!MAY_BE[bid.code].includes(status)) return `the lot was ${status} at that event`;
    order.seenAt(logIndex, bid.invMs, bid.retMs, bid);
  }
  const from = judgeCode(evidence, bid, logIndex);
  return typeof from === "number" && logIndex !== null ? Math.max(from, logIndex) : from;
}

/** Each of these: why it is wrong; or the first log index that the code allows. */
function judgeCode(evidence: Evidence, bid: RejectedBid, logIndex: number | null): string | number {
  switch (bid.code) {
    case "too_low":
      return tooLow(evidence, bid, logIndex);
    case "too_high":
      return tooHigh(evidence, bid, logIndex);
    case "jump_too_large":
      return jumpTooLarge(evidence, bid, logIndex);
    case "not_open":
      return notOpen(evidence, bid);
    case "closed":
      return closed(evidence, bid, logIndex);
    case "withdrawn":
      return withdrawn(evidence, bid);
    case "suspended":
      return suspended(evidence, bid);
    case "key_reused":
      return 0;
  }
}

function tooLow(evidence: Evidence, bid: RejectedBid, logIndex: number | null): string | number {
  const { timeline, order } = evidence;
  const { minimum } = timeline;
  const { amountMinor, minimumMinor: stated } = bid;
  if (stated !== undefined && amountMinor >= stated) return `it reaches ${stated}, which it states`;
  if (logIndex !== null) {
    const least = minimum[logIndex]!;
    if (amountMinor >= least) return `it reaches ${least}, the minimum at that event`;
    if (stated !== undefined && stated !== least && !Number.isNaN(least)) {
      return `the minimum at that event was ${least}, not ${stated}`;
    }
    return whileOpen(evidence, bid, logIndex) ?? logIndex;
  }
  if (Number.isNaN(minimum[0])) return 0;
  const least = stated ?? amountMinor + 1;
  const from = firstAtLeast(timeline, least);
  if (from === null) return "it reached the minimum as long as the lot took bids";
  if (stated !== undefined && minimum[from] !== stated) return `the minimum never was ${stated}`;
  if (from > 0) order.notAfter(from, bid.retMs, "seen", bid);
  const next = stated === undefined ? null : firstAtLeast(timeline, stated + 1);
  if (next !== null) order.notBefore(next, bid.invMs, "seen", bid);
  return whileOpen(evidence, bid, null) ?? from;
}

/** The first log index at which the minimum is so high, while the lot takes bids: it only ever rises. */
function firstAtLeast({ minimum, endedAt, end }: Timeline, amountMinor: number): number | null {
  const after = endedAt === 0 ? end + 1 : endedAt;
  let [low, high] = [0, after];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (minimum[middle]! >= amountMinor) high = middle;
    else low = middle + 1;
  }
  return low === after ? null : low;
}

function tooHigh(evidence: Evidence, bid: RejectedBid, logIndex: number | null): string | number {
  const { terms } = evidence.timeline;
  if (terms === null) return whileOpen(evidence, bid, logIndex) ?? 0;
  const { increments, maxAmountMinor } = terms.rules;
  const { amountMinor } = bid;
  if (amountMinor > MAX_MINOR - stepMinorAt(increments, amountMinor)) {
    return whileMinimumBelow(evidence, bid, logIndex, amountMinor + 1);
  }
  if (amountMinor <= maxAmountMinor) return `it is not above ${maxAmountMinor}`;
  return whileMinimumBelow(evidence, bid, logIndex, amountMinor);
}

function jumpTooLarge(
  evidence: Evidence,
  bid: RejectedBid,
  logIndex: number | null,
): string | number {
  const { terms } = evidence.timeline;
  if (terms === null) return whileOpen(evidence, bid, logIndex) ?? 0;
  const { increments, maxAmountMinor, maxJump } = terms.rules;
  const { amountMinor } = bid;
  if (maxJump === null) return "there is no limit to a jump";
  if (amountMinor > maxAmountMinor) return "it was too high";
  if (amountMinor <= maxJump * increments[0]!.stepMinor) return "the first step allows it";
  return whileMinimumBelow(evidence, bid, logIndex, Math.ceil(amountMinor / maxJump));
}

/** Judges an answer that is possible only while the minimum, which only rises, is below `limitMinor`. */
function whileMinimumBelow(
  evidence: Evidence,
  bid: RejectedBid,
  logIndex: number | null,
  limitMinor: number,
): string | number {
  const { timeline, order } = evidence;
  const next = firstAtLeast(timeline, limitMinor);
  if (next === 0 || (logIndex !== null && timeline.minimum[logIndex]! >= limitMinor)) {
    return "the minimum was too high for that";
  }
  if (next !== null) order.notBefore(next, bid.invMs, "seen", bid);
  return whileOpen(evidence, bid, logIndex) ?? 0;
}

/** What holds of every answer that is given only between the opening and the close. */
function whileOpen(
  { timeline, order, clock, steadyClock }: Evidence,
  bid: RejectedBid,
  logIndex: number | null,
): string | null {
  const { endedAt, closes, end } = timeline;
  if (endedAt > 0) order.notBefore(endedAt, bid.invMs, "seen", bid);
  if (steadyClock) {
    order.notAfter(order.opening, bid.retMs, "seen", bid);
    if (timeline.sellerMovedAt === 0) order.notBefore(order.over, bid.invMs, "seen", bid);
  }
  const close = closes[logIndex ?? end]!;
  return clock && bid.invMs + clock.offsetMs - clock.errorMs >= close
    ? "the lot was over by the clock"
    : null;
}

function notOpen(
  { timeline, order, clock, steadyClock }: Evidence,
  bid: RejectedBid,
): string | number {
  const first = timeline.events[0];
  if (first) order.notBefore(1, bid.invMs, "seen", bid);
  if (steadyClock) order.notBefore(order.opening, bid.invMs, "seen", bid);
  const opensAtMs = first?.type === "lot_opened" ? first.opensAtMs : NaN;
  return clock && bid.invMs + clock.offsetMs - clock.errorMs >= opensAtMs
    ? "the lot's time had come by the clock"
    : 0;
}

function closed(
  { timeline, order, clock, steadyClock, fencedAtMs }: Evidence,
  bid: RejectedBid,
  logIndex: number | null,
): string | number {
  const { leading, end, endedAt, sellerMovedAt, closes } = timeline;
  if (timeline.status[end] === "withdrawn") {
    order.notBefore(endedAt, bid.invMs, "seen", bid);
  }
  // No bid can follow, unless the close was moved otherwise than by a bid.
  const from = leading[sellerMovedAt === 0 ? end : sellerMovedAt - 1]!;
  const closesAtMs = Math.min(closes[from]!, fencedAtMs ?? Infinity);
  if (steadyClock) {
    if (logIndex !== null && logIndex < from) return "bids were accepted after it";
    // The fence ends all bidding before a lot's close has come.
    const isOver = sellerMovedAt === 0 && fencedAtMs === null;
    if (isOver) order.notAfter(order.over, bid.retMs, "seen", bid);
    else if (from > 0) order.notAfter(from, bid.retMs, "seen", bid);
  }
  return clock && bid.retMs + clock.offsetMs + clock.errorMs < closesAtMs
    ? "the close had not come by the clock"
    : steadyClock
      ? from
      : 0;
}

function withdrawn({ timeline, order }: Evidence, bid: RejectedBid): string | number {
  const { status, end, endedAt } = timeline;
  if (status[end] !== "withdrawn") return "the lot was never withdrawn";
  order.notAfter(endedAt, bid.retMs, "seen", bid);
  return endedAt;
}

/** The log does not record suspensions: it shows only that the lot was not over by then. */
function suspended({ timeline, order }: Evidence, bid: RejectedBid): number {
  const { endedAt } = timeline;
  if (endedAt > 0) order.notBefore(endedAt, bid.invMs, "seen", bid);
  return 0;
}
