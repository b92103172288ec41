/** The input of the load in the cluster (a file), and its output (a line of JSON per second). */
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
  /** Bids due per second, step by step. The last rate continues. */
  readonly rates: readonly number[];
  /** Duration of each rate but the last. */
  readonly stepSeconds: number;
  readonly viewers: number;
  readonly seed: number;
}

/** Number of bidders without faults. Each has an HTTP connection and a WebSocket, and one bid at a time. */
export const BIDDERS_AT_FIRST = 60;

/** Counts of the bidders since their last report. */
export interface BidderCounts {
  /** Present rate of due bids per second. */
  readonly rate: number;
  readonly due: number;
  readonly accepted: number;
  readonly rejected: number;
  /** Attempts that were answered 503 or never sent. Nothing was decided, and each was repeated. */
  readonly refused: number;
  /** Attempts with an unknown outcome. Each was repeated with its key. */
  readonly unknown: number;
  /** Refused and unknown attempts over HTTP. */
  readonly failedOverHttp: number;
  /** Due bids that were not placed, because too many others were in flight. */
  readonly dropped: number;
  /** From the time a bid was due until it was decided, over all attempts. */
  readonly latencies: Latencies;
  /** Bids in flight now. */
  readonly pending: number;
  /** Answers that the API does not document. */
  readonly odd: readonly string[];
}

/** Counts of the viewers since their last report. */
export interface ViewerCounts {
  readonly frames: number;
  /** Viewers that are connected and have a snapshot of each of their lots. */
  readonly watching: number;
  readonly broken: number;
  /** For each viewer that reconnected: ms from its disconnect to the snapshot of its last lot. */
  readonly back: readonly number[];
  /** Lots that were resumed without the missed events. */
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

/** Files in the folder of the histories that control the load. */
export const FINISH_FILE = "finish";
export const TAKEN_FILE = "taken";
export const BIDS_FILE = "bids.jsonl";
export const VIEWS_FILE = "views.txt";
