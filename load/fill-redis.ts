/**
 * Fills a Redis to the limits of a memory budget, as bids do: both windows of idempotency keys, every lot's stream, and
 * the outbox. It measures what each part takes then. fill-default-redis.ts fills one of the default size.
 */
import { randomUUID } from "node:crypto";
import type { Bid } from "../services/lot/lot.ts";
import { START } from "../services/lot/position.ts";
import type { Store } from "../services/store/connect.ts";
import { defineLots } from "../services/store/define-lots.ts";
import { type Keys, keysOf } from "../services/store/keys.ts";
import { openAuction } from "../services/store/lot-changes.ts";
import { readAuction } from "../services/store/lots.ts";
import { type Capacity, memoryBudgetOf } from "../services/store/memory-budget.ts";
import { outboxTail, trimOutbox } from "../services/store/outbox.ts";
import { placeBids } from "../services/store/place-bids.ts";
import { readRedisHealth } from "../services/store/redis-health.ts";
import { benchDefinition } from "./bench-auction.ts";

const BIDS = 256;
const CALLS_MAX = 100_000;

interface Filled {
  readonly accepted: number;
  /** Accepted bids whose keys the two windows hold. */
  readonly keys: number;
  /** Bytes of Redis for one accepted bid's key, as it measures them. */
  readonly bytesPerKey: number;
  /** What each part takes, and its limit by the memory budget. */
  readonly parts: readonly { name: string; bytes: number; budgetBytes: number }[];
  readonly usedBytes: number;
  readonly maxMemoryBytes: number;
}

/** @throws Error when a bid gets another answer than accepted or full: Redis has refused a write before our limits */
export async function fillRedis(store: Store, capacity: Capacity): Promise<Filled> {
  const budget = memoryBudgetOf(capacity);
  await store.config("SET", "maxmemory", budget.maxMemoryBytes);
  const uid = randomUUID();
  const keys = keysOf(uid);
  const lotIds = Array.from({ length: capacity.lots }, (_, i) => `lot-${i + 1}`);
  await defineLots(store, keys, benchDefinition(uid, lotIds), capacity);
  await openAuction(store, keys, lotIds);
  const filler = new Filler(store, keys, lotIds);

  // Keys first: while the archive keeps up, the outbox holds only what is kept after archiving.
  for (const window of [1, 2]) {
    while (await filler.placeBatch()) {
      const tail = await outboxTail(store, keys);
      await trimOutbox(store, keys, tail, tail);
    }
    if (window === 1) await turnWindow(store, keys);
  }
  const kept = await bytesOf(store, keys.answers);
  const count = (await store.hlen(keys.answers[0])) + (await store.hlen(keys.answers[1]));
  // From here on nothing is archived, and windows pass.
  do {
    await turnWindow(store, keys);
    while (await filler.placeBatch());
  } while (((await readAuction(store, keys))?.pendingBytes ?? 0) < capacity.maxPendingBytes);

  const lots = lotIds.map((lotId) => keys.lot(lotId));
  const measured: Record<string, number> = {
    outbox: await bytesOf(store, [keys.outbox]),
    "idempotency keys": kept,
    "lot streams": await bytesOf(
      store,
      lots.map(({ events }) => events),
    ),
    lots: await bytesOf(
      store,
      lots.map(({ lot }) => lot),
    ),
  };
  const { usedBytes = 0 } = (await readRedisHealth(store)) ?? {};
  return {
    accepted: filler.accepted,
    keys: count,
    bytesPerKey: kept / count,
    parts: budget.parts.flatMap(({ name, bytes: budgetBytes }) => {
      const bytes = measured[name];
      return bytes === undefined ? [] : [{ name, bytes, budgetBytes }];
    }),
    usedBytes,
    maxMemoryBytes: budget.maxMemoryBytes,
  };
}

class Filler {
  accepted = 0;
  #calls = 0;
  #amounts = new Map<string, number>();
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #lotIds: readonly string[];

  constructor(store: Store, keys: Keys, lotIds: readonly string[]) {
    this.#store = store;
    this.#keys = keys;
    this.#lotIds = lotIds;
  }

  /** Places bids on the next lot. @returns whether they were accepted; else they were answered `full` */
  async placeBatch(): Promise<boolean> {
    if (++this.#calls > CALLS_MAX) throw new Error(`not full after ${CALLS_MAX} calls`);
    const lotId = this.#lotIds[this.#calls % this.#lotIds.length]!;
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    const bids = Array.from({ length: BIDS }, () => this.#bidOn(lotId));
    const decided = await placeBids(
      this.#store,
      this.#keys,
      lotId,
      bids,
      START,
      Number.MAX_SAFE_INTEGER,
      traceparent,
    );
    for (const placement of decided.placements) {
      if (placement.outcome === "accepted") this.accepted++;
      else if (placement.outcome === "unavailable" && placement.why === "full") return false;
      else throw new Error(`a bid was answered ${JSON.stringify(placement)}`);
    }
    return true;
  }

  #bidOn(lotId: string): Bid {
    const amountMinor = (this.#amounts.get(lotId) ?? 1_000) + 1;
    this.#amounts.set(lotId, amountMinor);
    return { bidId: randomUUID(), bidderId: randomUUID(), key: randomUUID(), amountMinor };
  }
}

/** Ends the window: its kept answers become those of the previous window. */
async function turnWindow(store: Store, keys: Keys): Promise<void> {
  const bucket = Number(await store.hget(keys.auction, "keysBucket"));
  await store.rename(keys.answers[bucket % 2]!, keys.answers[(bucket + 1) % 2]!);
  await store.hset(keys.auction, "keysBytes", 0);
}

async function bytesOf(store: Store, names: readonly string[]): Promise<number> {
  let sum = 0;
  for (const name of names) sum += Number((await store.memory("USAGE", name, "SAMPLES", 0)) ?? 0);
  return sum;
}
