/**
 * The names of all keys in Redis. The keys of an auction share the hash tag `{<uid>:0}`, so that they lie in one
 * slot of a cluster. The 0 leaves room for partitions; there is one.
 */
export interface Keys {
  readonly auction: string;
  readonly outbox: string;
  readonly due: string;
  readonly answers: readonly [string, string];
  /** Exists while a restore is under way. */
  readonly restoring: string;
  /** Events that this store lost, from the processes that have shown them. */
  readonly claims: string;
  /** The stream of claims of the release before, whose processes run beside these during an upgrade. */
  readonly formerClaims: string;
  /** Exists for a while after the auction was deleted. */
  readonly cleaned: string;
  /** The health summary that archival wrote last. */
  readonly healthSummary: string;
  /** A channel without subscribers: a message to it reaches every replica. */
  readonly round: string;
  lot(lotId: string): LotKeys;
  /** The lease of a kind of work that one process does at a time. */
  lease(work: "clock" | "relay"): string;
}

interface LotKeys {
  readonly lot: string;
  readonly events: string;
  readonly closing: string;
}

/** The two hashes of answers alternate after this time: a key is kept for one to two windows. As in place-bids.lua. */
export const KEYS_WINDOW_MS = 10 * 60 * 1000;
/** The most bytes of events in a lot's stream; older events are in the archive. As in lot-functions.lua. */
export const LOT_STREAM_BYTES = 1024 * 1024;

export function keysOf(auctionUid: string): Keys {
  const tag = `gavel:{${auctionUid}:0}`;
  return {
    auction: `${tag}:auction`,
    outbox: `${tag}:outbox`,
    due: `${tag}:due`,
    answers: [`${tag}:keys:0`, `${tag}:keys:1`],
    restoring: `${tag}:restoring`,
    claims: `${tag}:claimed`,
    formerClaims: `${tag}:claims`,
    cleaned: `${tag}:cleaned`,
    healthSummary: `${tag}:invariants`,
    round: `${tag}:round`,
    lot: (lotId) => ({
      lot: `${tag}:lot:${lotId}`,
      events: `${tag}:events:${lotId}`,
      closing: `${tag}:closing:${lotId}`,
    }),
    lease: (work) => `${tag}:lease:${work}`,
  };
}

/** The keys of several lots for the lifecycle scripts: three for each. */
export function keysOfLots(keys: Keys, lotIds: readonly string[]): string[] {
  return lotIds.flatMap((lotId) => Object.values(keys.lot(lotId)) as string[]);
}
