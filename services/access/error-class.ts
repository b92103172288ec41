/**
 * The class of an error decides how it is handled, in the same way for every store and in every tier:
 *
 * - unreachable: the dependency did not answer, or is not ready yet. Retry.
 * - refused: it answered with a refusal, whose cause a person must remove. Retry, and show the reason.
 * - defect: everything else is a bug of Gavel. A request is answered `internal`; a loop stops the process.
 *
 * An error of a client is recognised by its name, code and message, not by its JavaScript class: a tier does not load
 * the clients of stores that it does not use.
 */
import { UnreadableEvent } from "../lot/events.ts";
import { BreakerOpen } from "../runtime/breaker.ts";
import { classOfRedisError, StoreRefused, StoreUnavailable } from "../store/unreachable.ts";
import { KeysUnavailable } from "./tokens.ts";

type ErrorClass = "unreachable" | "refused" | "defect";

/** Codes of Node for network errors, whichever client made the call. */
const NETWORK_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "EHOSTDOWN",
  "ENETDOWN",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_WRITE_AFTER_END",
  "ERR_STREAM_PREMATURE_CLOSE",
  "UND_ERR_SOCKET",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "UND_ERR_RES_EXCEEDED_MAX_SIZE",
]);

/** Codes of Node for a wrong certificate or TLS version, and for a file or port without permission. */
const NODE_REFUSES =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|EPROTO$|EACCES$|EPERM$|ENOENT$)/;

/** pg throws plain errors for a connection that is absent, closed or silent. */
const POSTGRES_CONNECTION_LOST =
  /^(timeout exceeded when trying to connect|timeout expired|Connection terminated|Query read timeout|Client (has encountered a connection error|was closed) and is not queryable|Cannot use a pool after calling end)/;

/** pg throws plain errors, too, for a server that rejects the password or does not support TLS. */
const POSTGRES_HANDSHAKE_REFUSED =
  /^(SASL: |The server does not support SSL connections|There was an error establishing an SSL connection)/;

/**
 * SQLSTATEs of a server that does not serve now: connection (08), conflict between transactions (40), lock or limit
 * of time (55P03, 57), a limit of an idle transaction (25P03), and too many connections (53300).
 */
const POSTGRES_NOT_NOW = /^(08...|40...|57...|55P03|25P0[34]|53300)$/;

/**
 * SQLSTATEs of a server that cannot be used until a person changes something: authorization (28), permission (42501),
 * resources (53), I/O (58), damage (XX), its configuration (F0), a feature that it lacks (0A), read-only (25006), a
 * database, schema, table, column or function that is absent, of another owner, or there already, and a constraint
 * (23502, 23503, 23514, 23P01) that Gavel's schema does not have.
 */
const POSTGRES_REFUSES =
  /^(28...|42501|53...|58...|XX...|F0...|0A...|25006|3D000|3F000|42P01|42703|42883|42704|42P0[4-7]|42701|42710|42723|42809|55000|55006|23502|23503|23514|23P01)$/;

/** The SQLSTATE of most errors of PgBouncer, and those of them that a person must remove. */
const PGBOUNCER_SAYS = "08P01";
const PGBOUNCER_REFUSES =
  /no such (database|user)|unsupported startup parameter|password|statement pooling/;

const NATS_UNREACHABLE = new Set([
  "ConnectionError",
  "ClosedConnectionError",
  "DrainingConnectionError",
  "NoResponders",
  "NoRespondersError",
  "RequestError",
  // Of a stream or a consumer that went away while it was read.
  "JetStreamError",
  "JetStreamStatusError",
  "StreamUnavailable",
]);

const NATS_REFUSES = new Set([
  "AuthorizationError",
  "UserAuthenticationExpiredError",
  "PermissionViolationError",
  "JetStreamNotEnabled",
]);

const NATS_CLIENT_REFUSES = /max_payload size exceeded|server does not support 'tls'/;

/** JetStream's answers, with a status like HTTP's. */
const JETSTREAM_ANSWERS = new Set([
  "JetStreamApiError",
  "StreamNotFoundError",
  "ConsumerNotFoundError",
]);

/** Codes of JetStream: another message is the last one. Another relay took over, and the next run begins after it. */
const WRONG_LAST_SEQUENCE = new Set(["10071", "10164"]);

/** Of `AbortSignal.timeout`, and of NATS. */
const TIMEOUTS = new Set(["TimeoutError"]);

/** How many nested causes of an error are followed. */
const CAUSES_MAX = 5;

export function classOf(error: unknown): ErrorClass {
  return recognise(error)?.errorClass ?? "defect";
}

/** Whether an error, or what caused it, says that a dependency could not serve the call. */
export function isUnavailable(error: unknown): boolean {
  return recognise(error) !== null;
}

/** For `catch`: replaces the answer of a dependency that did not serve the call. @throws the error if it is a defect */
export function ifUnavailable<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (!isUnavailable(error)) throw error;
    return value;
  };
}

type StoreName = "redis" | "nats" | "postgres";

/** Which store refuses, in its own words: "42501: permission denied". Null if the error is not a refusal. */
export function refusalOf(error: unknown): { store: StoreName | null; reason: string } | null {
  const found = recognise(error);
  if (found?.errorClass !== "refused") return null;
  const { name, message, code } = found.error as Error & { code?: unknown };
  const isNamed = typeof code === "string" && !message.includes(code);
  return {
    store: storeOf(found.error, name),
    reason: isNamed ? `${code}: ${message}` : message,
  };
}

function storeOf(error: Error, name: string): StoreName | null {
  if ("severity" in error || POSTGRES_HANDSHAKE_REFUSED.test(error.message)) return "postgres";
  if (isRefusedByNats(error) || JETSTREAM_ANSWERS.has(name)) return "nats";
  return name === "ReplyError" ? "redis" : null;
}

/**
 * The first refusal among an error and its causes: a client may wrap a refusal in an error that only says that a
 * call failed. Otherwise the first error that a dependency's client throws. Null: a defect.
 */
function recognise(error: unknown): { error: Error; errorClass: ErrorClass } | null {
  let found: { error: Error; errorClass: ErrorClass } | null = null;
  let at = error;
  for (let depth = 0; at instanceof Error && depth < CAUSES_MAX; depth++, at = at.cause) {
    const errorClass = ownClassOf(at);
    if (errorClass === "refused") return { error: at, errorClass };
    if (errorClass === "unreachable") found ??= { error: at, errorClass };
  }
  return found;
}

function ownClassOf(error: Error): ErrorClass {
  if (error instanceof StoreRefused || error instanceof UnreadableEvent) return "refused";
  if (
    error instanceof StoreUnavailable ||
    error instanceof BreakerOpen ||
    error instanceof KeysUnavailable
  ) {
    return "unreachable";
  }
  const { name, message } = error;
  const code = String((error as { code?: unknown }).code ?? "");
  if (NETWORK_CODES.has(code)) return "unreachable";
  if (isRefusedByNats(error) || NODE_REFUSES.test(code)) return "refused";
  if (TIMEOUTS.has(name) || NATS_UNREACHABLE.has(name)) return "unreachable";
  if (JETSTREAM_ANSWERS.has(name)) {
    if (WRONG_LAST_SEQUENCE.has(code)) return "unreachable";
    return Number((error as { status?: unknown }).status) >= 500 ? "unreachable" : "refused";
  }
  // Every error of Postgres itself has a SQLSTATE and a severity.
  if ("severity" in error) return classOfSqlState(code, message);
  if (POSTGRES_CONNECTION_LOST.test(message)) return "unreachable";
  if (POSTGRES_HANDSHAKE_REFUSED.test(message)) return "refused";
  return classOfRedisError(error);
}

/** Also errors of its client, which checks a message before it sends it. */
function isRefusedByNats({ name, message }: Error): boolean {
  return NATS_REFUSES.has(name) || NATS_CLIENT_REFUSES.test(message);
}

function classOfSqlState(code: string, message: string): ErrorClass {
  if (code === PGBOUNCER_SAYS && PGBOUNCER_REFUSES.test(message)) return "refused";
  if (POSTGRES_NOT_NOW.test(code)) return "unreachable";
  return POSTGRES_REFUSES.test(code) ? "refused" : "defect";
}
