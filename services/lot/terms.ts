/** The terms of a lot. They are fixed when it opens. */
export interface Terms {
  /** The minimum amount of the first bid. */
  readonly startMinor: number;
  /** A lower leading bid does not win; null for no reserve. */
  readonly reserveMinor: number | null;
  readonly rules: Rules;
}

/** The rules that all lots of an auction share. */
export interface Rules {
  /** Sorted by `fromMinor`; the first begins at 0. */
  readonly increments: readonly IncrementBand[];
  readonly antiSniping: AntiSniping;
  /** Above it only the minimum is accepted: a mistyped amount is rejected, and a lot can always be bid on. */
  readonly maxAmountMinor: number;
  /**
   * A bid may be at most this many times the minimum or the first step, whichever is larger. Null for no such limit:
   * an auction that opened before this rule existed keeps its rules.
   */
  readonly maxJump: number | null;
  /** What is disclosed to viewers: nothing, whether the reserve is met, or its amount. */
  readonly reserveDisclosure: "Hidden" | "MetOnly" | "Public";
}

/** The default of an Auction's rules.maxJump. */
export const DEFAULT_MAX_JUMP = 1_000;
export const LARGEST_MAX_JUMP = 1_000_000;

/** From `fromMinor` on, the next bid must be at least `stepMinor` above the leading bid. */
export interface IncrementBand {
  readonly fromMinor: number;
  readonly stepMinor: number;
}

/** A bid within `windowMs` of the close moves the close to at least `extensionMs` after the bid. */
interface AntiSniping {
  readonly windowMs: number;
  readonly extensionMs: number;
  readonly maxExtensions: number;
}
