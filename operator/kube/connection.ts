/**
 * Connections to the API server: one pool per lane, a deadline for every request, and credentials that are
 * reloaded while the process runs. It retries nothing.
 */
import { createHash } from "node:crypto";
import { StringDecoder } from "node:string_decoder";
import { Agent, type Dispatcher, ProxyAgent, request as send } from "undici";
import { ApiError, classifyAnswer, classifyFailure } from "./api-error.ts";
import type { KubeMetrics } from "./metrics.ts";

/** Each lane has connections of its own: a stuck watch or a slow apply never delays the Lease. */
export type Lane = "api" | "watch" | "lease";

interface LaneLimits {
  /** More requests than this wait, within their deadline. */
  readonly connections: number;
  readonly deadlineMs: number;
}

const LANES: Readonly<Record<Lane, LaneLimits>> = {
  api: { connections: 8, deadlineMs: 10_000 },
  // A watch keeps its connection; the deadline is for its first byte.
  watch: { connections: 256, deadlineMs: 15_000 },
  lease: { connections: 2, deadlineMs: 5_000 },
};

/** Shorter than the server's own limit for idle connections. */
const KEEP_ALIVE_MS = 60_000;
/** Far more than a page of 500 objects. */
const ANSWER_MAX_BYTES = 128 * 1024 * 1024;
/** The longest line of a watch. etcd stores objects of up to 1.5 MiB. */
const LINE_MAX_CHARACTERS = 16 * 1024 * 1024;
/** Older tokens and certificates are reloaded. */
const CREDENTIALS_MAX_AGE_MS = 5_000;

interface TlsOptions {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Credentials {
  /** The URL of the API server, with a path prefix if it has one. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsOptions;
  readonly proxyUrl?: string;
}

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: application/json. */
  readonly contentType?: string;
  readonly body?: unknown;
  /** Default: the lane's deadline. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

interface ApiAnswer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

export class ApiConnection {
  readonly #load: (isRejected: boolean) => Promise<Credentials>;
  readonly #metrics: KubeMetrics | undefined;
  #credentials: Promise<Credentials> | null = null;
  #loadedAtMs = 0;
  #mustReload = false;
  #pools = new Map<Lane, Dispatcher>();
  #poolsFor = "";
  #closed = false;

  /** @param load reads the credentials. `isRejected`: the API server answered 401 to the present ones */
  constructor(load: (isRejected: boolean) => Promise<Credentials>, metrics?: KubeMetrics) {
    this.#load = load;
    this.#metrics = metrics;
  }

  /** Returns any answer, whatever its status. @throws ApiError `timeout` or `unavailable` if there was none */
  async exchange(lane: Lane, request: ApiRequest): Promise<ApiAnswer> {
    return this.#count(request, async () => {
      const signal = deadline(request, LANES[lane].deadlineMs);
      const { statusCode, headers, body } = await this.#dispatch(lane, request, signal);
      const text = await body.text();
      if (statusCode === 401) this.#forget();
      return { status: statusCode, text, retryAfter: first(headers["retry-after"]) };
    });
  }

  /** Returns the answer's JSON. @throws ApiError for anything but 2xx */
  async call<T>(lane: Lane, request: ApiRequest): Promise<T> {
    const { status, text, retryAfter } = await this.exchange(lane, request);
    if (status < 200 || status > 299) {
      throw new ApiError(nameOf(request), classifyAnswer(status, text, retryAfter));
    }
    return JSON.parse(text) as T;
  }

  /**
   * The lines of a streamed answer, until the server ends it.
   * @param idleMs after this time without a byte the connection is closed
   * @throws ApiError: a refusal, a reset, or `timeout` with reason "Idle"
   */
  async *lines(lane: Lane, request: ApiRequest, idleMs: number): AsyncGenerator<string> {
    const idle = new AbortController();
    const giveUp = () => idle.abort(new ApiError(nameOf(request), IDLE));
    const ends = request.signal ? AbortSignal.any([request.signal, idle.signal]) : idle.signal;
    let timer = setTimeout(giveUp, request.deadlineMs ?? LANES[lane].deadlineMs);
    const rest = new PartialLine();
    try {
      const { statusCode, headers, body } = await this.#count(request, async () => {
        const answer = await this.#dispatch(lane, request, ends);
        return { ...answer, status: answer.statusCode };
      });
      if (statusCode !== 200) {
        const refusal = classifyAnswer(
          statusCode,
          await body.text(),
          first(headers["retry-after"]),
        );
        if (statusCode === 401) this.#forget();
        throw new ApiError(nameOf(request), refusal);
      }
      clearTimeout(timer);
      timer = setTimeout(giveUp, idleMs);
      for await (const chunk of body as AsyncIterable<Buffer>) {
        timer.refresh();
        yield* rest.take(chunk);
      }
      // An incomplete last line is dropped: the next watch sends its event again.
    } catch (error) {
      if (idle.signal.aborted) throw idle.signal.reason;
      if (error instanceof ApiError) throw error;
      throw new ApiError(nameOf(request), classifyFailure(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Closes all connections and aborts their requests. */
  async close(): Promise<void> {
    this.#closed = true;
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  async #count<T extends { status: number }>(
    request: ApiRequest,
    work: () => Promise<T>,
  ): Promise<T> {
    const { method } = request;
    try {
      const answer = await work();
      this.#metrics?.requests.inc({ code: String(answer.status), method });
      return answer;
    } catch (error) {
      this.#metrics?.requests.inc({ code: "<error>", method });
      // The CA may have changed: the next request reloads it.
      this.#loadedAtMs = -Infinity;
      throw new ApiError(nameOf(request), classifyFailure(error), error);
    }
  }

  async #dispatch(lane: Lane, request: ApiRequest, signal: AbortSignal) {
    const credentials = await this.#current();
    const { method, body, contentType = "application/json" } = request;
    const url = new URL(credentials.server.replace(/\/$/, "") + request.path);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return send(url, {
      dispatcher: this.#pool(lane, credentials),
      method,
      signal,
      headers: {
        accept: "application/json",
        "user-agent": "gavel-operator",
        ...(body === undefined ? {} : { "content-type": contentType }),
        ...request.headers,
        ...credentials.headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  #forget(): void {
    this.#mustReload = true;
    this.#loadedAtMs = -Infinity;
  }

  #current(): Promise<Credentials> {
    if (this.#closed) return Promise.reject(new Error("API connection is closed"));
    if (this.#credentials && performance.now() - this.#loadedAtMs < CREDENTIALS_MAX_AGE_MS) {
      return this.#credentials;
    }
    const loading = this.#load(this.#mustReload);
    this.#mustReload = false;
    this.#loadedAtMs = performance.now();
    this.#credentials = loading;
    loading.catch(() => {
      if (this.#credentials === loading) this.#credentials = null;
    });
    return loading;
  }

  #pool(lane: Lane, { server, tls, proxyUrl }: Credentials): Dispatcher {
    const identity = createHash("sha256")
      .update(JSON.stringify([server, proxyUrl, tls.servername, tls.rejectUnauthorized]))
      .update([tls.ca, tls.cert, tls.key].map((part) => `${part?.length}:${part}`).join())
      .digest("base64");
    if (identity !== this.#poolsFor) {
      // Requests in flight end on the old connections; a watch ends within minutes.
      for (const old of this.#pools.values()) void old.close().catch(() => {});
      this.#pools.clear();
      this.#poolsFor = identity;
    }
    let pool = this.#pools.get(lane);
    if (!pool) this.#pools.set(lane, (pool = createPool(LANES[lane], tls, proxyUrl)));
    return pool;
  }
}

function createPool(limits: LaneLimits, tls: TlsOptions, proxyUrl?: string): Dispatcher {
  const options = {
    connections: limits.connections,
    pipelining: 1,
    // One stuck HTTP/2 connection would block all requests of its lane.
    allowH2: false,
    headersTimeout: limits.deadlineMs * 2, // the deadline comes first
    bodyTimeout: 0, // likewise
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxResponseSize: limits === LANES.watch ? -1 : ANSWER_MAX_BYTES,
  };
  const connect = {
    ...tls,
    timeout: limits.deadlineMs,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  if (proxyUrl === undefined) return new Agent({ ...options, connect });
  return new ProxyAgent({ ...options, uri: proxyUrl, requestTls: connect });
}

const IDLE = {
  kind: "timeout",
  status: null,
  reason: "Idle",
  message: "no data within the idle limit",
  retryAfterMs: null,
  causes: [],
} as const;

const nameOf = ({ method, path }: ApiRequest): string => `${method} ${path}`;

const first = (header: string | string[] | undefined): string | null =>
  (Array.isArray(header) ? header[0] : header) ?? null;

function deadline({ signal, deadlineMs }: ApiRequest, laneMs: number): AbortSignal {
  const timeout = AbortSignal.timeout(deadlineMs ?? laneMs);
  return signal ? AbortSignal.any([signal, timeout]) : timeout;
}

/** Turns chunks of bytes into whole lines. */
class PartialLine {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";

  *take(chunk: Buffer): Generator<string> {
    const parts = this.#decoder.write(chunk).split("\n");
    parts[0] = this.#rest + parts[0];
    this.#rest = parts.pop()!;
    if (this.#rest.length > LINE_MAX_CHARACTERS) throw new Error("watch line is too long");
    for (const line of parts) if (line !== "") yield line;
  }
}
