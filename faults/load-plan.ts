/** What the processes of the load are told, and what they say. */

export interface LoadPlan {
  readonly uid: string;
  /** Through the proxies. */
  readonly gatewayPorts: readonly number[];
  readonly broadcastPorts: readonly number[];
  readonly lots: readonly LoadLot[];
  /** Token by bidder. */
  readonly tokens: readonly (readonly [bidderId: string, token: string])[];
  readonly bidsPerSecond: number;
  readonly historyFile: string;
  readonly seed: number;
}

export interface LoadLot {
  readonly lotId: string;
  /** Long ones get most of the bids. */
  readonly long: boolean;
}

export interface LoadCounts {
  readonly acknowledged: number;
  readonly rejected: number;
  /** Attempts that were refused: nothing was decided. */
  readonly refused: number;
  /** Attempts whose fate was unknown, */
  readonly unknown: number;
  /** and bids that had such an attempt and have no answer yet. */
  readonly unresolved: number;
  readonly attempts: number;
  readonly reads: number;
  readonly frames: number;
  readonly connections: number;
  /** What nobody expected: each a line for a person. */
  readonly odd: readonly string[];
}

export const NO_COUNTS: LoadCounts = {
  acknowledged: 0,
  rejected: 0,
  refused: 0,
  unknown: 0,
  unresolved: 0,
  attempts: 0,
  reads: 0,
  frames: 0,
  connections: 0,
  odd: [],
};

export type ToLoad = { readonly plan: LoadPlan } | { readonly finish: true };
export type FromLoad = { readonly counts: LoadCounts; readonly finished: boolean };
