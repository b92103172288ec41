import {
  jetstream,
  type JetStreamClient,
  jetstreamManager,
  type JetStreamManager,
} from "@nats-io/jetstream";
import {
  type Authenticator,
  connect,
  type NatsConnection,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";

/** A connection to NATS that comes back by itself, for ever. */
export interface Bus {
  readonly connection: NatsConnection;
  readonly stream: JetStreamClient;
  readonly manager: JetStreamManager;
  /** Called whenever the connection is lost: what was in flight then may have arrived or not. */
  readonly onLost: Set<() => void>;
}

const CONNECT_TIMEOUT_MS = 2_000;
/** How long JetStream may take to answer: a publish is acknowledged, or lost, within it. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Questions about streams and consumers: asked right after NATS came up they may go under, so ask again soon. */
const MANAGE_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 10_000;
const MAX_PINGS_OUT = 2;
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 500;

/**
 * Connects, however long it takes. JetStream of nats-server 2.9.4 or newer is needed.
 * @param readUrl `nats://[user:password@|token@]host:port`; asked again at each connection, so that a
 *   password may change
 * @param name shows in the server's list of connections
 */
export async function connectBus(readUrl: () => string, name: string): Promise<Bus> {
  const connection = await connect({
    servers: new URL(readUrl()).host,
    name,
    authenticator: authenticatorOf(readUrl),
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: MAX_PINGS_OUT,
    // -1 is "never give up"; also for the first connection, and after a password was refused.
    maxReconnectAttempts: -1,
    waitOnFirstConnect: true,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // A stack trace a publish costs more than the publish.
    noAsyncTraces: true,
  });
  // No request goes out here: JetStream may be on its way up still, and each use says so itself.
  const manager = await jetstreamManager(connection, {
    checkAPI: false,
    timeout: MANAGE_TIMEOUT_MS,
  });
  const stream = jetstream(connection, { timeout: REQUEST_TIMEOUT_MS });
  const onLost = new Set<() => void>();
  void watch(connection, onLost);
  return { connection, manager, stream, onLost };
}

async function watch(connection: NatsConnection, onLost: Bus["onLost"]): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === "disconnect" || type === "staleConnection" || type === "close") {
      for (const tell of onLost) tell();
    }
  }
}

/** Asked for each connection: who had no password may need one by now. */
function authenticatorOf(readUrl: () => string): Authenticator {
  return (nonce) => {
    const url = new URL(readUrl());
    const [user, password] = [url.username, url.password].map(decodeURIComponent);
    if (!user) return undefined;
    return (password ? usernamePasswordAuthenticator(user, password) : tokenAuthenticator(user))(
      nonce,
    );
  };
}

/** Whether NATS answers within `timeoutMs`. */
export async function answers(bus: Bus, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const flushed = bus.connection.flush().then(
    () => true,
    () => false,
  );
  return Promise.race([flushed, late]).finally(() => clearTimeout(timer));
}
