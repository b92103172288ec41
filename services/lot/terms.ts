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
  /** Higher bids are rejected, so that a mistyped amount cannot block a lot. */
  readonly maxAmountMinor: number;
  /** What is disclosed to viewers: nothing, whether the reserve is met, or its amount. */
  readonly reserveDisclosure: "Hidden" | "MetOnly" | "Public";
}

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
