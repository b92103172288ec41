/**
 * Writing an auction back into a store that lost it, or lost its tail. Lot by lot, the auction itself last:
 * nobody can bid before that, and a restore that ends half-way leaves nothing that decides.
 */
import type { LeadingBid, LotStatus } from "../lot/lot.ts";
import type { Store } from "./connect.ts";
import type { Digest } from "./digest.ts";
import { type Keys, KEYS_WINDOW_MS } from "./keys.ts";
import type { Accepted } from "./place-bids.ts";
import { writeAnswer } from "./place-bids.ts";

/** Another restore with a higher epoch is under way, or the store decides again already. */
export class RestoreSuperseded extends Error {
  override readonly name = "RestoreSuperseded";
}

/** What the events of a lot come to. */
export interface LotState {
  readonly status: LotStatus;
  readonly seq: number;
  readonly atMs: number;
  readonly opensAtMs: number | null;
  readonly closesAtMs: number | null;
  readonly extensions: number;
  readonly bidCount: number;
  readonly leadingBid: LeadingBid | null;
}

export interface StreamEntry {
  /** `<epoch>-<seq>` of its last event. */
  readonly id: string;
  readonly events: string;
}

/** In place of a confirmed server: somebody asked for a restore. */
export const RESTORE_ASKED = "restore";

/** The server decides nothing any more until it is restored. */
export async function askForRestore(store: Store, keys: Keys): Promise<void> {
  await store.hset(keys.auction, "confirmedServer", RESTORE_ASKED);
}

export async function isBeingRestored(store: Store, keys: Keys): Promise<boolean> {
  return (await store.exists(keys.restoring)) === 1;
}

/** What a process knew of, and the store did not have, is there by now. */
export async function forgetAhead(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<void> {
  if (lotIds.length === 0) return;
  await store.hdel(keys.auction, ...lotIds.map((lotId) => `ahead:${lotId}`));
}

/**
 * @param defined what its hash keeps of its definition; null where the hash is there
 * @param state null where the store's own is the latest known; only the epoch is raised then
 * @param digest of all its events; null keeps the one that is there
 * @param entries of its stream, oldest first; they replace what is there
 * @throws RestoreSuperseded
 */
export async function restoreLot(
  store: Store,
  keys: Keys,
  epoch: number,
  lotId: string,
  defined: Readonly<Record<string, string>> | null,
  state: LotState | null,
  digest: Digest | null,
  entries: readonly StreamEntry[],
): Promise<void> {
  const { lot, events, closing } = keys.lot(lotId);
  const fields = {
    ...defined,
    ...(state === null ? null : stateFields(state)),
    ...(digest === null ? null : { sumMinor: String(digest.sumMinor), chain: digest.chain }),
  };
  const done = await store.restoreLot(
    keys.auction,
    keys.restoring,
    lot,
    events,
    closing,
    epoch,
    JSON.stringify(fields),
    ...entries.flatMap(({ id, events: text }) => [id, text]),
  );
  if (done !== 1) throw new RestoreSuperseded(`lot ${lotId} under epoch ${epoch}`);
}

function stateFields(state: LotState): Record<string, string> {
  const { status, seq, atMs, opensAtMs, closesAtMs, extensions, bidCount, leadingBid } = state;
  return {
    status,
    seq: String(seq),
    atMs: String(atMs),
    extensions: String(extensions),
    bidCount: String(bidCount),
    ...(opensAtMs === null ? {} : { opensAtMs: String(opensAtMs) }),
    ...(closesAtMs === null ? {} : { closesAtMs: String(closesAtMs) }),
    ...(leadingBid === null
      ? {}
      : {
          bidId: leadingBid.bidId,
          bidder: JSON.stringify(leadingBid.bidderId),
          amountMinor: String(leadingBid.amountMinor),
        }),
  };
}

export interface Answered {
  readonly bidderId: string;
  readonly key: string;
  readonly accepted: Accepted;
}

/** Answers to accepted bids, kept under their keys as long as if they were given now. */
export class AnswerWriter {
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #bucket: number;

  private constructor(store: Store, keys: Keys, bucket: number) {
    this.#store = store;
    this.#keys = keys;
    this.#bucket = bucket;
  }

  static async begin(store: Store, keys: Keys, nowMs: number): Promise<AnswerWriter> {
    const bucket = Math.floor(nowMs / KEYS_WINDOW_MS);
    await store.restoreAnswers(keys.auction, ...keys.answers, bucket);
    return new AnswerWriter(store, keys, bucket);
  }

  /** Older answers have been forgotten. */
  get sinceMs(): number {
    return (this.#bucket - 1) * KEYS_WINDOW_MS;
  }

  async write(answers: readonly Answered[]): Promise<void> {
    const hashes: [string[], string[]] = [[], []];
    for (const { bidderId, key, accepted } of answers) {
      const bucket = Math.min(this.#bucket, Math.floor(accepted.placedAtMs / KEYS_WINDOW_MS));
      if (bucket < this.#bucket - 1) continue;
      const name = `${accepted.lotId}:${JSON.stringify(bidderId)}:${JSON.stringify(key)}`;
      hashes[bucket % 2]!.push(name, writeAnswer(accepted));
    }
    for (const [i, fields] of hashes.entries()) {
      if (fields.length > 0) await this.#store.hset(this.#keys.answers[i]!, ...fields);
    }
  }
}

interface RestoredAuction {
  readonly epoch: number;
  /** The next outbox id is above it. */
  readonly floorId: string;
  /** What Postgres has committed. */
  readonly archivedId: string;
  /** Of its hash; those that are there and not named are kept. */
  readonly fields: Readonly<Record<string, string>>;
  /** Entries that nothing but a claim has: they go into the outbox again. */
  readonly claimed: readonly (readonly [lotId: string, events: string])[];
  readonly lotIds: readonly string[];
}

/** The last step: from now on there are bids. @throws RestoreSuperseded */
export async function restoreAuction(
  store: Store,
  keys: Keys,
  { epoch, floorId, archivedId, fields, claimed, lotIds }: RestoredAuction,
): Promise<void> {
  const all = [
    keys.auction,
    keys.restoring,
    keys.outbox,
    keys.due,
    keys.claims,
    ...lotIds.map((lotId) => keys.lot(lotId).lot),
  ];
  const args = [epoch, floorId, archivedId, JSON.stringify(fields), JSON.stringify(claimed)];
  const done = await store.restoreAuction(all.length, ...all, ...args, ...lotIds);
  if (done !== 1) throw new RestoreSuperseded(`epoch ${epoch}`);
}
