/** Errors of the API server: one class with a closed set of kinds, and pure functions that classify answers and failures. */

/**
 * - `conflict` 409: the object changed, another manager owns a field, or a precondition or JSON patch failed
 * - `already_exists` 409 for a creation
 * - `not_found` 404: the object, its namespace, or the kind
 * - `gone` 410: the resourceVersion or continue token is older than the last compaction
 * - `invalid` the request can never succeed (400, 405, 413, 415, 422, and a schema error, which comes as 500)
 * - `forbidden` 403: RBAC, quota, or a terminating namespace (see `causes`)
 * - `unauthorized` 401: the next request reloads the credentials
 * - `throttled` 429: retry after `retryAfterMs`
 * - `timeout` our deadline or the server's has passed: a write may have happened
 * - `unavailable` no connection, a reset, or another 5xx: a write may have happened
 * - `unexpected` anything else
 */
type ApiErrorKind =
  | "conflict"
  | "already_exists"
  | "not_found"
  | "gone"
  | "invalid"
  | "forbidden"
  | "unauthorized"
  | "throttled"
  | "timeout"
  | "unavailable"
  | "unexpected";

/** One reason of a refusal. `field` is the path that it concerns; for a conflict, the field that another manager owns. */
interface ApiErrorCause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

interface Refusal {
  readonly kind: ApiErrorKind;
  /** HTTP status; null if there was no answer. */
  readonly status: number | null;
  /** The reason of the answer, e.g. "AlreadyExists", or one of ours for a failure. */
  readonly reason: string;
  readonly message: string;
  readonly retryAfterMs: number | null;
  readonly causes: readonly ApiErrorCause[];
}

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly kind: ApiErrorKind;
  readonly status: number | null;
  readonly reason: string;
  readonly retryAfterMs: number | null;
  readonly causes: readonly ApiErrorCause[];

  /** @param request e.g. "PATCH /api/v1/namespaces/x/services/y" */
  constructor(request: string, refusal: Refusal, cause?: unknown) {
    super(`${request}: ${refusal.message}`, cause === undefined ? undefined : { cause });
    this.kind = refusal.kind;
    this.status = refusal.status;
    this.reason = refusal.reason;
    this.retryAfterMs = refusal.retryAfterMs;
    this.causes = refusal.causes;
  }
}

/** Whether it is an ApiError of one of these kinds; without kinds, any ApiError. */
export function isApiError(error: unknown, ...kinds: ApiErrorKind[]): error is ApiError {
  return error instanceof ApiError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** A field that another manager owns. */
export interface FieldConflict {
  readonly field: string;
  /** Contains the name of the manager. */
  readonly message: string;
}

/** The field conflicts of a server-side apply without force; empty for any other error. */
export function fieldConflictsOf(error: unknown): FieldConflict[] {
  if (!isApiError(error, "conflict")) return [];
  return error.causes
    .filter(({ reason }) => reason === "FieldManagerConflict")
    .map(({ field, message }) => ({ field, message }));
}

/** A longer Retry-After is shortened to this. */
const RETRY_AFTER_MAX_MS = 5 * 60_000;

/** Classifies the answer to a refused request. @param body a Status object as JSON, or the text of a proxy */
export function classifyAnswer(
  status: number,
  body: string,
  retryAfter: string | null = null,
): Refusal {
  const parsed = parseStatus(body);
  const message = parsed.message || `HTTP ${status} ${body.slice(0, 200)}`.trimEnd();
  const seconds = retryAfterSeconds(retryAfter) ?? parsed.retryAfterSeconds;
  return {
    kind: kindOf(status, parsed.reason, message),
    status,
    reason: parsed.reason,
    message,
    retryAfterMs: seconds === null ? null : Math.min(seconds * 1_000, RETRY_AFTER_MAX_MS),
    causes: parsed.causes,
  };
}

/** A schema error of a server-side apply comes as HTTP 500, though a retry can never succeed. */
const SCHEMA_ERROR = /failed to create typed patch object|field not declared in schema/;
/**
 * A JSON patch that does not fit the current object (a `test` fails, a path does not exist) comes as 422 with
 * this message and no cause. It means the same as 409: read the object again.
 */
const PATCH_DOES_NOT_FIT = /^the server rejected our request due to an error in our request/;

function kindOf(status: number, reason: string, message: string): ApiErrorKind {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 409:
      return reason === "AlreadyExists" ? "already_exists" : "conflict";
    case 410:
      return "gone";
    case 422:
      return PATCH_DOES_NOT_FIT.test(message) ? "conflict" : "invalid";
    case 429:
      return "throttled";
    case 504:
      return "timeout";
    case 500:
      return SCHEMA_ERROR.test(message) ? "invalid" : "unavailable";
    default:
      if (status >= 500) return "unavailable";
      return status >= 400 ? "invalid" : "unexpected";
  }
}

/** Classifies a failed connection: our deadline, or a server that cannot be reached. */
export function classifyFailure(error: unknown): Refusal {
  const { name = "", code = "" } = (error ?? {}) as { name?: string; code?: string };
  const isTimeout = name === "TimeoutError" || /_TIMEOUT$|^ETIMEDOUT$/.test(code);
  const text = error instanceof Error ? error.message || name : String(error);
  return {
    kind: isTimeout ? "timeout" : "unavailable",
    status: null,
    reason: isTimeout ? "Timeout" : code || "ConnectionFailed",
    message: code && !text.includes(code) ? `${text} (${code})` : text,
    retryAfterMs: null,
    causes: [],
  };
}

interface ParsedStatus {
  readonly reason: string;
  readonly message: string;
  readonly retryAfterSeconds: number | null;
  readonly causes: readonly ApiErrorCause[];
}

function parseStatus(body: string): ParsedStatus {
  const nothing: ParsedStatus = { reason: "", message: "", retryAfterSeconds: null, causes: [] };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return nothing; // The page of a proxy, or a truncated answer.
  }
  if (typeof value !== "object" || value === null) return nothing;
  const { reason, message, details } = value as {
    reason?: unknown;
    message?: unknown;
    details?: { retryAfterSeconds?: unknown; causes?: unknown };
  };
  const causes = Array.isArray(details?.causes) ? (details.causes as Partial<ApiErrorCause>[]) : [];
  return {
    reason: text(reason),
    message: text(message),
    retryAfterSeconds: Number(details?.retryAfterSeconds) || null,
    causes: causes.map((cause) => ({
      reason: text(cause.reason),
      field: text(cause.field),
      message: text(cause.message),
    })),
  };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");

function retryAfterSeconds(header: string | null): number | null {
  if (header === null || header.trim() === "") return null;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? null : Math.max(0, (atMs - Date.now()) / 1_000);
}
