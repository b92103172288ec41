/** A Redis for one test file, and what its tests define and read in it. */
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import type { Lot } from "../lot/lot.ts";
import { createLog } from "../runtime/log.ts";
import type { Store } from "../store/connect.ts";
import { StoreConnections } from "../store/connections.ts";
import { type AuctionDefinition, type Defined, defineLots } from "../store/define-lots.ts";
import { type Keys, keysOf } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import { afterFile } from "./after-file.ts";
import { MAX_PENDING_BYTES, openStore } from "./auction.ts";
import { startRedis, type TestServer } from "./servers.ts";

/** For a bid that may take as long as it needs. */
export const NO_DEADLINE = Number.MAX_SAFE_INTEGER;

/** Both stop after the test file. */
export async function startStore(): Promise<{ redis: TestServer; store: Store }> {
  const redis = await startRedis();
  return { redis, store: await openStore(redis.url) };
}

/** For a strategy. They are closed after the test file. */
export function openConnections(url: string): StoreConnections {
  const connections = new StoreConnections(url, "gavel-test", createLog("test", "silent"));
  afterFile(() => connections.close());
  return connections;
}

/** Cuts the connections whose name matches, and refuses every new one. @returns what admits them again */
export async function refuseConnections(store: Store, name: RegExp): Promise<() => Promise<void>> {
  await store.config("SET", "maxclients", 1);
  const list = (await store.call("CLIENT", "LIST")) as string;
  const lines = list.split("\n").filter((line) => name.test(line));
  if (lines.length === 0) throw new Error(`no connection ${name}:\n${list}`);
  for (const line of lines) await store.call("CLIENT", "KILL", "ID", /^id=(\d+)/.exec(line)![1]!);
  return async () => void (await store.config("SET", "maxclients", 10_000));
}

export const defineAuction = (store: Store, definition: AuctionDefinition): Promise<Defined> =>
  defineLots(store, keysOf(definition.uid), definition, { maxPendingBytes: MAX_PENDING_BYTES });

export async function readAllLots(store: Store, keys: Keys): Promise<Lot[]> {
  const auction = (await readAuction(store, keys))!;
  return (await readLots(store, keys, auction, auction.lotIds)).map((lot) => lot!);
}

/** The events of all lots, from the outbox. */
export async function readOutboxEvents(store: Store, keys: Keys): Promise<LotEvent[]> {
  const entries = await store.xrange(keys.outbox, "-", "+");
  return entries.flatMap(([, fields]) => decodeEvents(fields[3]!));
}

/** The events of one lot, from its own stream. */
export async function readLotEvents(
  store: Store,
  keys: Keys,
  lotId = "lot-1",
): Promise<LotEvent[]> {
  const entries = await store.xrange(keys.lot(lotId).events, "-", "+");
  return entries.flatMap(([, fields]) => decodeEvents(fields[1]!));
}
