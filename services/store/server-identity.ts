/**
 * The identity of the Redis server behind a connection: its `run_id`. A restarted Redis and a promoted replica
 * may lack acknowledged events. Each has another run_id, and decides nothing until archival has compared its
 * data with what was relayed (`confirmServer`).
 *
 * `master_replid` would also detect a master that was demoted and promoted again before its successor was
 * confirmed. But it also changes when the first replica connects, and each change stops bids for a moment.
 */
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { StoreRefused, StoreUnavailable } from "./unreachable.ts";

interface Identity {
  runId: string | null;
  reading: Promise<string> | null;
  /** Connections made so far: a reply of an earlier connection is ignored. */
  connection: number;
}

const known = new WeakMap<Store, Identity>();

function identityOf(store: Store): Identity {
  let identity = known.get(store);
  if (!identity) {
    const fresh: Identity = { runId: null, reading: null, connection: 0 };
    known.set(store, fresh);
    store.on("close", () => {
      fresh.connection++;
      forget(fresh);
    });
    identity = fresh;
  }
  return identity;
}

function forget(identity: Identity): void {
  identity.runId = null;
  identity.reading = null;
}

/** The run_id, if this connection has read it already. Sends nothing. */
export function knownRunId(store: Store): string | null {
  return identityOf(store).runId;
}

/** Reads the run_id once a connection. @throws when Redis does not answer */
export function readRunId(store: Store): Promise<string> {
  const identity = identityOf(store);
  if (identity.runId !== null) return Promise.resolve(identity.runId);
  identity.reading ??= read(store, identity);
  return identity.reading;
}

/** Whether the server was a replica before: it may lack the last events that its master acknowledged. */
export async function wasPromoted(store: Store): Promise<boolean> {
  return !/^0+$/.test(valueOf(await store.info("replication"), "master_replid2"));
}

async function read(store: Store, identity: Identity): Promise<string> {
  const { connection } = identity;
  try {
    const runId = valueOf(await store.info("server"), "run_id");
    if (identity.connection !== connection)
      throw new StoreUnavailable("the connection to Redis broke");
    identity.runId = runId;
    return runId;
  } finally {
    if (identity.connection === connection) identity.reading = null;
  }
}

function valueOf(info: string, field: string): string {
  const value = new RegExp(`^${field}:(\\w+)`, "m").exec(info)?.[1];
  if (value === undefined) throw new StoreRefused(`Redis's INFO has no ${field}`);
  return value;
}

/**
 * Lets the server decide again after its data was compared. A store that never had a confirmed server decides
 * from the start.
 * @returns false when another server answers, or a restore is under way
 */
export async function confirmServer(store: Store, keys: Keys, server: string): Promise<boolean> {
  return (await store.confirmServer(keys.auction, keys.restoring, server)) === 1;
}
