/**
 * Restores an auction into a store that lost it, or lost its newest events: lot by lot, and the auction last. Nobody
 * can bid before the last step, so an interrupted restore leaves no store that decides.
 */
import type { LeadingBid, LotStatus } from "../lot/lot.ts";
import type { Store } from "./connect.ts";
import type { Digest } from "./digest.ts";
import { type Keys, KEYS_WINDOW_MS } from "./keys.ts";
import { keptBytesOf } from "./memory-budget.ts";
import type { Accepted } from "./place-bids.ts";
import { writeAnswer } from "./place-bids.ts";
import { StoreUnavailable } from "./unreachable.ts";

/** Another restore with a higher epoch is under way, or the server was confirmed meanwhile. */
export class RestoreSuperseded extends StoreUnavailable {
  override readonly name = "RestoreSuperseded";
}

/** The state of a lot that its events determine. */
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

/** The value of `confirmedServer` that requests a restore. */
export const RESTORE_REQUESTED = "restore";

/** The server decides nothing until it is restored. */
export async function requestRestore(store: Store, keys: Keys): Promise<void> {
  await store.hset(keys.auction, "confirmedServer", RESTORE_REQUESTED);
}

export async function isBeingRestored(store: Store, keys: Keys): Promise<boolean> {
  return (await store.exists(keys.restoring)) === 1;
}

/** Deletes the `ahead` marks of lots whose missing events are in the store again. */
export async function forgetAhead(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<void> {
  if (lotIds.length === 0) return;
  await store.hdel(keys.auction, ...lotIds.map((lotId) => `ahead:${lotId}`));
}

/**
 * @param defined the fields of its definition; null if its hash exists
 * @param state null keeps the state in the store, and only raises the epoch
 * @param digest of all its events; null keeps the digest in the store
 * @param entries of its stream, oldest first; they replace the present ones
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

/** Writes answers to accepted bids under their keys; they are kept as long as new answers. */
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

  /** Older answers have expired. */
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
      if (fields.length === 0) continue;
      const hash = this.#keys.answers[i]!;
      // Only the keys of the current window are counted.
      const addedBytes = i === this.#bucket % 2 ? await this.#addedBytes(hash, fields) : 0;
      await this.#store.hset(hash, ...fields);
      if (addedBytes === 0) continue;
      await this.#store.hincrby(this.#keys.auction, "keysBytes", addedBytes);
    }
  }

  /** The bytes that these fields add: fields that exist have been counted already. */
  async #addedBytes(hash: string, fields: readonly string[]): Promise<number> {
    const had = await this.#store.hmget(hash, ...fields.filter((_, at) => at % 2 === 0));
    return keptBytesOf(fields.filter((_, at) => had[Math.floor(at / 2)] === null));
  }
}

interface RestoredAuction {
  readonly epoch: number;
  /** The next outbox id is above it. */
  readonly floorId: string;
  /** The watermark of Postgres. */
  readonly archivedId: string;
  /** Fields of its hash; other present fields are kept. */
  readonly fields: Readonly<Record<string, string>>;
  /** Entries that only a claim has: they are added to the outbox. */
  readonly claimed: readonly (readonly [lotId: string, events: string])[];
  readonly lotIds: readonly string[];
}

/** The last step: bids are decided from now on. @throws RestoreSuperseded */
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
  await store.unlink(keys.formerClaims);
}
