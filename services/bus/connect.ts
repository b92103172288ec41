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
  type NodeConnectionOptions,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { pause } from "../runtime/lifecycle.ts";

/** A connection to NATS that reconnects without limit. */
export interface Bus {
  readonly connection: NatsConnection;
  readonly stream: JetStreamClient;
  readonly manager: JetStreamManager;
  /** Called when the connection is lost: messages in flight may have arrived or not. */
  readonly onLost: Set<() => void>;
}

const CONNECT_TIMEOUT_MS = 2_000;
/** Time-out of a JetStream request: a publish is acknowledged within it, or lost. */
const REQUEST_TIMEOUT_MS = 5_000;
/** Time-out of management requests: NATS may lose them right after its start, so they are retried soon. */
const MANAGE_TIMEOUT_MS = 2_000;
const PING_INTERVAL_MS = 10_000;
const MAX_PINGS_OUT = 2;
const RECONNECT_WAIT_MS = 250;
const RECONNECT_JITTER_MS = 500;

interface BusOptions {
  /** Called with why an attempt to connect failed, and with null once there is a connection. */
  readonly onAttempt?: (failure: Error | null) => void;
  /** Ends the attempts; the promise is then never settled. */
  readonly signal?: AbortSignal;
}

/**
 * Connects without a time limit. Needs JetStream of nats-server 2.9.4 or newer.
 * @param readUrl `nats://[user:password@|token@]host:port`, or `tls:`; called for each connection, so that the
 *   password may change
 * @param name shown in the server's list of connections
 */
export async function connectBus(
  readUrl: () => string,
  name: string,
  { onAttempt = () => {}, signal }: BusOptions = {},
): Promise<Bus> {
  const connection = await firstConnection(readUrl, name, onAttempt, signal);
  // No request is sent here: JetStream may still be starting, and every later request reports that.
  const manager = await jetstreamManager(connection, {
    checkAPI: false,
    timeout: MANAGE_TIMEOUT_MS,
  });
  const stream = jetstream(connection, { timeout: REQUEST_TIMEOUT_MS });
  const onLost = new Set<() => void>();
  void watch(connection, onLost, onAttempt);
  return { connection, manager, stream, onLost };
}

/** Retries here instead of in the client, which hides why an attempt failed and reads the address only once. */
async function firstConnection(
  readUrl: () => string,
  name: string,
  onAttempt: (failure: Error | null) => void,
  signal: AbortSignal | undefined,
): Promise<NatsConnection> {
  for (;;) {
    try {
      const connection = await connect(optionsOf(readUrl, name));
      onAttempt(null);
      return connection;
    } catch (error) {
      onAttempt(error as Error);
    }
    await pause(RECONNECT_WAIT_MS + Math.random() * RECONNECT_JITTER_MS, signal);
    if (signal?.aborted) return new Promise(() => {});
  }
}

function optionsOf(readUrl: () => string, name: string): NodeConnectionOptions {
  const { host, protocol } = new URL(readUrl());
  return {
    servers: host,
    // `nats:` takes TLS where the server offers it; `tls:` takes nothing else.
    ...(protocol === "tls:" ? { tls: {} } : {}),
    name,
    authenticator: authenticatorOf(readUrl),
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: MAX_PINGS_OUT,
    // -1: no limit, also after a refused password.
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    // Capturing a stack trace costs more than the publish itself.
    noAsyncTraces: true,
  };
}

async function watch(
  connection: NatsConnection,
  onLost: Bus["onLost"],
  onAttempt: (failure: Error | null) => void,
): Promise<void> {
  for await (const status of connection.status()) {
    const { type } = status;
    if (type === "reconnect") onAttempt(null);
    // A subject without permission does not mean that the connection failed.
    if (type === "error" && status.error.name !== "PermissionViolationError") {
      onAttempt(status.error);
    }
    if (type === "disconnect" || type === "staleConnection" || type === "close") {
      for (const notify of onLost) notify();
    }
  }
}

/** Reads the credentials for each connection: they may have changed. */
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
