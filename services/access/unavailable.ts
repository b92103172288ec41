/**
 * Tells an outage from a defect of ours. An outage is recognised by the error that the client of the
 * dependency throws; every other error is a defect.
 */
import { BreakerOpen } from "../runtime/breaker.ts";
import { isRedisUnreachable, StoreUnavailable } from "../store/unreachable.ts";
import { KeysUnavailable } from "./tokens.ts";

/** Codes of Node for a network that does not carry the call, whichever client made it. */
const NETWORK_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EHOSTDOWN",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_SOCKET",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
]);

/** pg throws plain errors for a connection that is absent, closed or silent. */
const POSTGRES_CONNECTION_LOST =
  /^(timeout exceeded when trying to connect|timeout expired|Connection terminated|Query read timeout|Client (has encountered a connection error|was closed) and is not queryable|Cannot use a pool after calling end)/;

/**
 * SQLSTATEs of a server that works but does not serve: connection (08), authorization (28), conflict between
 * transactions (40), resources (53), lock or limit of time (55P03, 57), I/O (58), read-only (25006), a limit of an
 * idle transaction (25P03), and a database that is not there or not migrated yet (3D000, 3F000, 42P01).
 */
const POSTGRES_NOT_SERVING =
  /^(08...|28...|40...|53...|57...|58...|55P03|25006|25P0[34]|3D000|3F000|42P01)$/;

const NATS_UNREACHABLE = new Set([
  "ConnectionError",
  "ClosedConnectionError",
  "DrainingConnectionError",
  "NoResponders",
  "NoRespondersError",
  "RequestError",
  "AuthorizationError",
  "UserAuthenticationExpiredError",
  "JetStreamNotEnabled",
]);

/** Of `AbortSignal.timeout`, and of NATS. */
const TIMEOUTS = new Set(["TimeoutError"]);

/** Errors wrapped in each other are followed so far. */
const CAUSES_MAX = 5;

/** Whether an error, or what caused it, says that a dependency could not serve the call. */
export function isUnavailable(error: unknown): boolean {
  let at = error;
  for (let depth = 0; at instanceof Error && depth < CAUSES_MAX; depth++, at = at.cause) {
    if (saysUnavailable(at)) return true;
  }
  return false;
}

function saysUnavailable(error: Error): boolean {
  if (
    error instanceof StoreUnavailable ||
    error instanceof BreakerOpen ||
    error instanceof KeysUnavailable
  ) {
    return true;
  }
  const { name, message } = error;
  const { code = "" } = error as { code?: unknown };
  if (NETWORK_CODES.has(String(code))) return true;
  if (TIMEOUTS.has(name) || NATS_UNREACHABLE.has(name)) return true;
  // JetStream's answer, with a status like HTTP's.
  if (name === "JetStreamApiError") return Number((error as { status?: unknown }).status) >= 500;
  // Every error of Postgres itself has a SQLSTATE and a severity.
  if ("severity" in error) return POSTGRES_NOT_SERVING.test(String(code));
  return POSTGRES_CONNECTION_LOST.test(message) || isRedisUnreachable(error);
}
