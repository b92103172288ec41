/** The outcomes of a bid, as lists: each is a metric series from the start. */
import type { Placement, UnavailableReason } from "./place-bids.ts";

/** Complete, or it does not compile. */
export const OUTCOMES = Object.keys({
  accepted: true,
  too_low: true,
  too_high: true,
  jump_too_large: true,
  not_open: true,
  closed: true,
  withdrawn: true,
  suspended: true,
  unknown_lot: true,
  key_reused: true,
  unavailable: true,
  unknown: true,
} satisfies Record<Placement["outcome"], true>) as readonly Placement["outcome"][];

/** The reasons of `unavailable`. */
export const UNAVAILABLE_REASONS = Object.keys({
  store: true,
  busy: true,
  undefined: true,
  expired: true,
  regressed: true,
  unconfirmed: true,
  full: true,
} satisfies Record<UnavailableReason, true>) as readonly UnavailableReason[];
