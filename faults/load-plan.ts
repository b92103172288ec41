/** The messages to and from the processes of the load. */

export interface LoadPlan {
  readonly uid: string;
  /** Ports of the proxies. */
  readonly gatewayPorts: readonly number[];
  readonly broadcastPorts: readonly number[];
  readonly lots: readonly LoadLot[];
  /** Tokens of the bidders. */
  readonly tokens: readonly (readonly [bidderId: string, token: string])[];
  readonly bidsPerSecond: number;
  readonly historyFile: string;
  readonly seed: number;
}

interface LoadLot {
  readonly lotId: string;
  /** Long ones get most of the bids. */
  readonly long: boolean;
}

export interface LoadCounts {
  readonly acknowledged: number;
  readonly rejected: number;
  /** Refused attempts: nothing was decided. */
  readonly refused: number;
  /** Attempts with an unknown outcome. */
  readonly unknown: number;
  /** Bids with such an attempt that have no answer yet. */
  readonly unresolved: number;
  readonly attempts: number;
  readonly reads: number;
  readonly frames: number;
  readonly connections: number;
  /** Answers that the API does not document. */
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

export type LoadCommand = { readonly plan: LoadPlan } | { readonly finish: true };
export type LoadReport = { readonly counts: LoadCounts; readonly finished: boolean };
