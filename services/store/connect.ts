import { readFileSync } from "node:fs";
import { Redis, type Result } from "ioredis";
import { StoreRefused } from "./unreachable.ts";

const read = (name: string) => readFileSync(new URL(`./${name}.lua`, import.meta.url), "utf8");
const shared = read("lot-functions");
const script = (name: string) => ({ lua: shared + read(name) });

const scripts = {
  placeBids: { ...script("place-bids"), numberOfKeys: 8 },
  openLots: script("open-lots"),
  closeLots: script("close-lots"),
  openAuction: script("open-auction"),
  fence: script("fence"),
  defineLots: script("define-lots"),
  holdLease: { ...script("hold-lease"), numberOfKeys: 1 },
  trimOutbox: { ...script("trim-outbox"), numberOfKeys: 2 },
  claimEvents: { ...script("claim-events"), numberOfKeys: 3 },
  confirmServer: { ...script("confirm-server"), numberOfKeys: 2 },
  restoreAnswers: { ...script("restore-answers"), numberOfKeys: 3 },
  restoreLot: { ...script("restore-lot"), numberOfKeys: 5 },
  restoreAuction: script("restore-auction"),
  markDeleted: { ...script("mark-deleted"), numberOfKeys: 1 },
};

type Arguments = (string | number)[];

declare module "ioredis" {
  // The parameter's name and constraint are ioredis's own; the interfaces merge only if they agree.
  interface RedisCommander<Context> {
    placeBids(...keysAndArguments: Arguments): Result<[string, ...(string | number)[]], Context>;
    openLots(keys: number, ...keysAndArguments: Arguments): Result<[number, ...string[]], Context>;
    closeLots(keys: number, ...keysAndArguments: Arguments): Result<[number, ...string[]], Context>;
    openAuction(keys: number, ...keysAndArguments: Arguments): Result<[string, number?], Context>;
    fence(
      keys: number,
      ...keysAndArguments: Arguments
    ): Result<[string, string?, number?], Context>;
    defineLots(
      keys: number,
      ...keysAndArguments: Arguments
    ): Result<["defined" | "refused" | "outdated" | "unconfirmed" | "again", string?], Context>;
    holdLease(...keysAndArguments: Arguments): Result<[0 | 1, number], Context>;
    trimOutbox(...keysAndArguments: Arguments): Result<[number, number], Context>;
    claimEvents(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    confirmServer(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    restoreAnswers(...keysAndArguments: Arguments): Result<1, Context>;
    restoreLot(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    restoreAuction(keys: number, ...keysAndArguments: Arguments): Result<0 | 1, Context>;
    markDeleted(...keysAndArguments: Arguments): Result<1, Context>;
  }
}

export type Store = Redis;

/** redis://[user:password@]host:port, or a function that reads it. */
export type StoreUrl = string | (() => string);

/** Time-out of a command; every answer to a bidder is due within a second. */
const COMMAND_TIMEOUT_MS = 700;

const CONNECT_TIMEOUT_MS = 1_000;
const RECONNECT_MAX_MS = 1_000;

/** Why a connection fails at present: the URL cannot be read, or what the last attempt met. */
interface Failures {
  url: Error | null;
  connection: Error | null;
}

const failures = new WeakMap<Store, Failures>();

/** Why there is no connection; null if that is not known. The error of a command does not contain the cause. */
export function connectionFailure(store: Store): Error | null {
  const { url, connection } = failures.get(store) ?? { url: null, connection: null };
  return url ?? connection;
}

const CHECK_URL =
  "check the URL in REDIS_URL_FILE: host, port, user, password, and rediss:// if and only if Redis takes TLS";

/** For the end of a sentence: why there is no connection, and what to do. Empty if that is not known. */
export function whyNotConnected(store: Store): string {
  const why = connectionFailure(store);
  if (why === null) return "";
  return why instanceof StoreRefused ? `: ${why.message}` : `: ${why.message}; ${CHECK_URL}`;
}

/** An address where nothing listens: the connection fails, and the next attempt reads the URL again. */
const NOWHERE = "redis://127.0.0.1:1";

/**
 * A connection that fails fast: commands are not queued while Redis is unreachable, are never sent twice, and time
 * out after `timeoutMs`. It reconnects without limit.
 * @param url a function is called before each connection, so that the password may change
 * @param name shown by CLIENT LIST
 * @param timeoutMs must exceed the block time of blocking reads
 */
export function connectStore(url: StoreUrl, name: string, timeoutMs = COMMAND_TIMEOUT_MS): Store {
  const readUrl = typeof url === "string" ? () => url : url;
  const failed: Failures = { url: null, connection: null };
  const store: Store = new Redis(urlOr(NOWHERE, readUrl, failed), {
    scripts,
    protocol: 2,
    connectionName: name,
    disableClientInfo: true,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    // A connection that sends no byte for so long is dead.
    socketTimeout: timeoutMs + 1_000,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 10_000,
    retryStrategy: (attempt) => {
      refreshOptions(store, readUrl, failed);
      return Math.random() * Math.min(RECONNECT_MAX_MS, 50 * 2 ** attempt);
    },
    reconnectOnError: ({ message }) => RECONNECT_ON.test(message),
  });
  failures.set(store, failed);
  store.on("error", (error) => (failed.connection = error));
  store.on("ready", () => (failed.connection = null));
  return store;
}

function urlOr<T>(other: T, readUrl: () => string, failed: Failures): string | T {
  try {
    const url = readUrl();
    failed.url = null;
    return url;
  } catch (error) {
    failed.url = error as Error;
    return other;
  }
}

/** The server became a replica, or the password changed. */
const RECONNECT_ON = /^(READONLY|NOAUTH|WRONGPASS)/;

/** Reads the URL for the next connection. An unreadable URL changes nothing: the next attempt reads it again. */
function refreshOptions(store: Store, readUrl: () => string, failed: Failures): void {
  const url = urlOr(null, readUrl, failed);
  if (url === null) return;
  // ioredis parses the URL; this instance never connects.
  const { options } = new Redis(url, { lazyConnect: true });
  const { host, port, path, username, password, db, tls } = options;
  Object.assign(store.options, { host, port, path, username, password, db, tls });
}

/** Starts connecting without waiting: an unreachable store is connected to later. */
export function startConnecting(store: Store, onError: (error: Error) => void): void {
  store.on("error", onError);
  store.connect().catch(() => {});
}

/** The time by Redis's clock: the only clock that decides. */
export async function storeClockMs(store: Store): Promise<number> {
  const [seconds, micros] = await store.time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}
