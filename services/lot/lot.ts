import type { Terms } from "./terms.ts";

/** scheduled → open → closed, or withdrawn from either of the first two. */
export type LotStatus = "scheduled" | "open" | "closed" | "withdrawn";

/** Whether its auction takes bids at all: `suspended` for a while, `fenced` never again. */
export type Intake = "taking" | "suspended" | "fenced";

/** The best bid accepted so far. */
export interface LeadingBid {
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
}

/** One lot at one instant: everything that a decision about it depends on. */
export interface Lot extends Terms {
  readonly lotId: string;
  readonly title: string;
  readonly status: LotStatus;
  /** The auction's, and no part of what its events say. */
  readonly intake: Intake;
  /** Null until the auction is opened, where its schedule says "as soon as it is ready". */
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  /** How often a late bid has moved the close. */
  readonly extensions: number;
  /** Raised when the store lost its tail; `seq` never goes back within an epoch. */
  readonly epoch: number;
  /** Of the last event: 1, 2, 3 … without a gap. 0 before the lot opened. */
  readonly seq: number;
  /** When the last event happened, by Redis's clock. Time never runs backwards for a lot. */
  readonly atMs: number;
  readonly leadingBid: LeadingBid | null;
  readonly bidCount: number;
}

/** A bid as it reaches the rules. Its bidder comes from a verified token. */
export interface Bid {
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
  /** The bidder's own name for this bid on this lot: sent twice, it is placed once. */
  readonly key: string;
}
