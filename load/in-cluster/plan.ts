/** What the load in the cluster is told (a file), and what it says (a line of JSON each second). */
import type { Latencies } from "../latencies.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Plan {
  readonly gateway: Address;
  readonly broadcast: Address;
  readonly lotIds: readonly string[];
  readonly tokens: readonly (readonly [bidderId: string, token: string])[];
  /** Bids due each second, whatever becomes of them. One after the other; the last goes on. */
  readonly rates: readonly number[];
  /** How long each rate but the last is held. */
  readonly stepSeconds: number;
  readonly viewers: number;
  readonly seed: number;
}

/** Bidders who take turns while all is well: each has a connection of either kind, with one bid on it at a time. */
export const BIDDERS_AT_FIRST = 60;

/** Of the bidders, since they last said it. */
export interface BidderCounts {
  /** Bids due each second at present. */
  readonly rate: number;
  readonly due: number;
  readonly accepted: number;
  readonly rejected: number;
  /** Attempts that were answered 503 or never sent: nothing was decided. Each was tried again. */
  readonly refused: number;
  /** Attempts of unknown fate. Each was asked again with its key. */
  readonly unknown: number;
  /** How many of these two were over HTTP. */
  readonly failedOverHttp: number;
  /** Bids that were due and not placed, because too many others were waiting. */
  readonly dropped: number;
  /** From when a bid was due to when it was decided, in ms: all attempts together. */
  readonly latencies: Latencies;
  /** Bids under way now. */
  readonly pending: number;
  /** What nobody expected: each a line for a person. */
  readonly odd: readonly string[];
}

/** Of the viewers, since they last said it. */
export interface ViewerCounts {
  readonly frames: number;
  /** Viewers that have a socket and a snapshot of each of their lots now. */
  readonly watching: number;
  readonly broken: number;
  /** For each viewer that came back: ms from its socket's end to the snapshot of its last lot. */
  readonly back: readonly number[];
  /** Lots that could not be resumed event by event. */
  readonly notRecovered: number;
}

export interface Second extends BidderCounts, ViewerCounts {
  /** When it ended, by the clock of the load's node. */
  readonly atMs: number;
}

export type Line = { readonly second: Second } | { readonly state: "ready" | "finished" };

export type ToChild = { readonly plan: Plan; readonly historyFile: string } | "finish";
export type FromChild<Counts> =
  { readonly counts: Counts } | { readonly state: "ready" | "finished" };

/** Files in the folder of the histories by which the load is told something. */
export const FINISH_FILE = "finish";
export const TAKEN_FILE = "taken";
export const BIDS_FILE = "bids.jsonl";
export const VIEWS_FILE = "views.txt";
