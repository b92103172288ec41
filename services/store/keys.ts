/**
 * Names of everything in Redis. All that one script touches shares the hash tag
 * `{auction uid:partition}`, so that it lies in one slot of a cluster. A single Redis is one
 * partition: 0.
 */
export interface Keys {
  readonly auction: string;
  readonly outbox: string;
  readonly due: string;
  readonly answers: readonly [string, string];
  /** There while a restore writes. */
  readonly restoring: string;
  /** What others have of what this store lost. */
  readonly claims: string;
  /** There for a while after the auction was removed for good. */
  readonly cleaned: string;
  /** How the archive stands, as archival last saw it. */
  readonly invariants: string;
  /** A channel that nobody listens to: what is published there reaches every replica. */
  readonly round: string;
  lot(lotId: string): LotKeys;
  /** Who may do the named work of this partition at present. */
  lease(work: "clock" | "relay"): string;
}

export interface LotKeys {
  readonly lot: string;
  readonly events: string;
  readonly closing: string;
}

/** The answers' two hashes take turns, each this long: a key is remembered for one to two of them. As in place-bids.lua. */
export const KEYS_WINDOW_MS = 10 * 60 * 1000;
/** About so many events are in a lot's stream; older ones are in the archive. As in append-event.lua. */
export const LOT_STREAM_ENTRIES = 1000;

export function keysOf(auctionUid: string, partition = 0): Keys {
  const tag = `gavel:{${auctionUid}:${partition}}`;
  return {
    auction: `${tag}:auction`,
    outbox: `${tag}:outbox`,
    due: `${tag}:due`,
    answers: [`${tag}:keys:0`, `${tag}:keys:1`],
    restoring: `${tag}:restoring`,
    claims: `${tag}:claims`,
    cleaned: `${tag}:cleaned`,
    invariants: `${tag}:invariants`,
    round: `${tag}:round`,
    lot: (lotId) => ({
      lot: `${tag}:lot:${lotId}`,
      events: `${tag}:events:${lotId}`,
      closing: `${tag}:closing:${lotId}`,
    }),
    lease: (work) => `${tag}:lease:${work}`,
  };
}

/** The keys that lifecycle scripts take for several lots: three for each. */
export function keysOfLots(keys: Keys, lotIds: readonly string[]): string[] {
  return lotIds.flatMap((lotId) => Object.values(keys.lot(lotId)) as string[]);
}
