/** What a lot is sold on. Fixed when it opens, except that bidding may move its close. */
export interface Terms {
  /** The least a first bid may be. */
  readonly startMinor: number;
  /** Below this the lot is not sold; null sells at any price. */
  readonly reserveMinor: number | null;
  readonly rules: Rules;
}

/** The rules that all lots of an auction share. */
export interface Rules {
  /** Sorted by `fromMinor`; the first begins at 0. */
  readonly increments: readonly IncrementBand[];
  readonly antiSniping: AntiSniping;
  /** A bid above this is refused, so that one slip of the finger cannot lock a lot. */
  readonly maxAmountMinor: number;
  /** What viewers learn of the reserve: nothing, whether it is met, or its amount. */
  readonly reserveDisclosure: "Hidden" | "MetOnly" | "Public";
}

/** From this leading amount on, the next bid must be at least this step higher. */
export interface IncrementBand {
  readonly fromMinor: number;
  readonly stepMinor: number;
}

/** A bid within `windowMs` of the close leaves at least `extensionMs` to answer it. */
interface AntiSniping {
  readonly windowMs: number;
  readonly extensionMs: number;
  readonly maxExtensions: number;
}
