import { readFileSync } from "node:fs";
import { Redis, type Result } from "ioredis";

const read = (name: string) => readFileSync(new URL(`./${name}.lua`, import.meta.url), "utf8");
const shared = read("append-event");
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
    defineLots(keys: number, ...keysAndArguments: Arguments): Result<[string, string?], Context>;
    holdLease(...keysAndArguments: Arguments): Result<[0 | 1, number], Context>;
    trimOutbox(...keysAndArguments: Arguments): Result<[number, number], Context>;
    claimEvents(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    confirmServer(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    restoreAnswers(...keysAndArguments: Arguments): Result<1, Context>;
    restoreLot(...keysAndArguments: Arguments): Result<0 | 1, Context>;
    restoreAuction(keys: number, ...keysAndArguments: Arguments): Result<0 | 1, Context>;
  }
}

export type Store = Redis;

/** redis://[user:password@]host:port, or what reads it. */
export type StoreUrl = string | (() => string);

/** How long a command may go unanswered; every answer to a bidder is due within a second. */
export const COMMAND_TIMEOUT_MS = 700;

const CONNECT_TIMEOUT_MS = 1_000;
const RECONNECT_MAX_MS = 1_000;

/**
 * A connection that fails fast: nothing is queued while Redis is away, nothing is sent twice, and
 * nothing waits longer than `timeoutMs`. It reconnects by itself for ever.
 * @param url asked again before each connection, where it is a function, so that a password may change
 * @param name shows in CLIENT LIST
 * @param timeoutMs give blocking reads more than they block
 */
export function connectStore(url: StoreUrl, name: string, timeoutMs = COMMAND_TIMEOUT_MS): Store {
  const readUrl = typeof url === "string" ? () => url : url;
  const store: Store = new Redis(readUrl(), {
    scripts,
    protocol: 2,
    connectionName: name,
    disableClientInfo: true,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    // A connection that says nothing at all to a waiting command is dead, not slow.
    socketTimeout: timeoutMs + 1_000,
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 10_000,
    retryStrategy: (attempt) => {
      readAgain(store, readUrl);
      return Math.random() * Math.min(RECONNECT_MAX_MS, 50 * 2 ** attempt);
    },
    reconnectOnError: ({ message }) => RECONNECT_ON.test(message),
  });
  return store;
}

/** It became a replica, or our password is another one by now. */
const RECONNECT_ON = /^(READONLY|NOAUTH|WRONGPASS)/;

/** What the next connection is made with. A URL that cannot be read just now leaves it as it was. */
function readAgain(store: Store, readUrl: () => string): void {
  try {
    // It reads the URL as ioredis does, and never connects.
    const { options } = new Redis(readUrl(), { lazyConnect: true });
    const { host, port, path, username, password, db, tls } = options;
    Object.assign(store.options, { host, port, path, username, password, db, tls });
  } catch {
    // It is being replaced: the next attempt reads it again.
  }
}

/** Starts connecting without waiting: a store that is away at the start is reached when it is back. */
export function startConnecting(store: Store, onError: (error: Error) => void): void {
  store.on("error", onError);
  store.connect().catch(() => {});
}

/** Redis's clock: the only one that decides. */
export async function storeClockMs(store: Store): Promise<number> {
  const [seconds, micros] = await store.time();
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}
