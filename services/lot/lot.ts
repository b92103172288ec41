import type { Terms } from "./terms.ts";

/** scheduled → open → closed, or withdrawn from either of the first two. */
export type LotStatus = "scheduled" | "open" | "closed" | "withdrawn";

/** Whether the auction takes bids. `fenced` is final. */
export type Intake = "taking" | "suspended" | "fenced";

/** The best bid accepted so far. */
export interface LeadingBid {
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
}

/** The state of a lot: everything that a decision about it depends on. */
export interface Lot extends Terms {
  readonly lotId: string;
  readonly title: string;
  readonly status: LotStatus;
  /** The auction's intake. It is not part of any event. */
  readonly intake: Intake;
  /** Null until the auction opens, where its schedule says "as soon as it is ready". */
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  /** How often anti-sniping has moved the close. */
  readonly extensions: number;
  /** Raised when the store lost its newest events. */
  readonly epoch: number;
  /** Of the last event: 1, 2, 3 … without a gap; 0 before the lot opened. */
  readonly seq: number;
  /** Time of the last event, by Redis's clock. It never decreases. */
  readonly atMs: number;
  readonly leadingBid: LeadingBid | null;
  readonly bidCount: number;
}

/** A bid to decide. Its bidder comes from a verified token. */
export interface Bid {
  readonly bidId: string;
  readonly bidderId: string;
  readonly amountMinor: number;
  /** The idempotency key, chosen by the bidder: a bid sent twice with it is placed once. */
  readonly key: string;
}
