/**
 * Which run of which Redis a connection speaks to. A Redis that was started again, or a replica that took
 * over, may have less than what was acknowledged; it has another name, and decides nothing under that name
 * before archival has compared what it has with what was relayed (`confirmServer`).
 *
 * The name is Redis's `run_id`, new with every start, and a replica's own. (master_replid would also tell a
 * master that was demoted and promoted again before its short-lived successor was ever confirmed; but it
 * changes, too, when a first replica comes, and each change stops bids for a moment.)
 */
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { StoreUnavailable } from "./unreachable.ts";

interface Asked {
  name: string | null;
  asking: Promise<string> | null;
  /** Connections made so far: an answer of an earlier one is not taken for this one's. */
  connection: number;
}

const known = new WeakMap<Store, Asked>();

function askedOf(store: Store): Asked {
  let asked = known.get(store);
  if (!asked) {
    const fresh: Asked = { name: null, asking: null, connection: 0 };
    known.set(store, fresh);
    store.on("close", () => {
      fresh.connection++;
      forget(fresh);
    });
    asked = fresh;
  }
  return asked;
}

function forget(asked: Asked): void {
  asked.name = null;
  asked.asking = null;
}

/** Without asking: null where this connection has not told yet. */
export function knownServer(store: Store): string | null {
  return askedOf(store).name;
}

/** Asks once a connection. @throws when Redis does not answer */
export function serverOf(store: Store): Promise<string> {
  const asked = askedOf(store);
  if (asked.name !== null) return Promise.resolve(asked.name);
  asked.asking ??= ask(store, asked);
  return asked.asking;
}

/** Whether it was a replica before: then it may lack what its master acknowledged last. */
export async function wasPromoted(store: Store): Promise<boolean> {
  return !/^0+$/.test(valueOf(await store.info("replication"), "master_replid2"));
}

async function ask(store: Store, asked: Asked): Promise<string> {
  const { connection } = asked;
  try {
    const name = valueOf(await store.info("server"), "run_id");
    if (asked.connection !== connection)
      throw new StoreUnavailable("the connection to Redis broke");
    asked.name = name;
    return name;
  } finally {
    if (asked.connection === connection) asked.asking = null;
  }
}

function valueOf(info: string, field: string): string {
  const value = new RegExp(`^${field}:(\\w+)`, "m").exec(info)?.[1];
  if (value === undefined) throw new Error(`Redis does not tell its ${field}`);
  return value;
}

/**
 * Lets the store decide again: what it has was compared, as this server. Without a first confirmation
 * nobody guards a store, and it decides from the start.
 * @returns false when it is another server by now, or is being restored
 */
export async function confirmServer(store: Store, keys: Keys, server: string): Promise<boolean> {
  return (await store.confirmServer(keys.auction, keys.restoring, server)) === 1;
}
