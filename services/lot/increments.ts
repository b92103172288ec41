import type { LeadingBid } from "./lot.ts";
import type { IncrementBand, Rules, Terms } from "./terms.ts";

/** The step at a leading amount: that of the last band that begins at or below it. */
export function stepMinorAt(increments: readonly IncrementBand[], amountMinor: number): number {
  const band = increments.findLast(({ fromMinor }) => fromMinor <= amountMinor);
  if (!band) throw new Error("the first increment band must begin at 0");
  return band.stepMinor;
}

/** The minimum amount of the next bid: the start, then one step above the leading bid. Never 0. */
export function minimumBidMinor(terms: Terms, leadingBid: LeadingBid | null): number {
  return leadingBid === null
    ? Math.max(1, terms.startMinor)
    : leadingBid.amountMinor + stepMinorAt(terms.rules.increments, leadingBid.amountMinor);
}

/**
 * The largest amount that may be bid while the minimum is `minimumMinor`. It is never below the minimum, so no bid can
 * end a lot. It rises with the minimum, and is not 0 if the lot starts at 0.
 */
export function maximumBidMinor(rules: Rules, minimumMinor: number): number {
  const { increments, maxAmountMinor, maxJump } = rules;
  const highest = Math.max(maxAmountMinor, minimumMinor);
  if (maxJump === null) return highest;
  return Math.min(highest, maxJump * Math.max(minimumMinor, increments[0]!.stepMinor));
}
