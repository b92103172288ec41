/** What the API server refuses, and why: one class with a closed set of kinds, and the pure function that tells them apart. */

/**
 * - `conflict` 409: changed meanwhile, fields owned by another manager, a precondition that fails, a JSON patch that does not fit
 * - `already_exists` 409 of a creation
 * - `not_found` 404: the object, its namespace, or the kind
 * - `gone` 410: a resourceVersion or continue token from before the last compaction
 * - `invalid` the request can never succeed as it is (400, 405, 413, 415, 422, and a schema error that comes as 500)
 * - `forbidden` 403: RBAC, quota, or a namespace that is going away (see `causes`)
 * - `unauthorized` 401: credentials are read anew for the next call
 * - `throttled` 429: not before `retryAfterMs`
 * - `timeout` our deadline passed, or the server's: the write may have happened
 * - `unavailable` no connection, a reset, or any other 5xx: the write may have happened
 * - `unexpected` anything else
 */
export type ApiErrorKind =
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

/** One reason of a refusal. `field` is the path that it is about; of a conflict, the field that another manager owns. */
export interface ApiErrorCause {
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

interface Refusal {
  readonly kind: ApiErrorKind;
  /** HTTP status; null where none came. */
  readonly status: number | null;
  /** The server's own word, e.g. "AlreadyExists"; ours where it said none. */
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

  /** @param request what was asked, e.g. "PATCH /api/v1/namespaces/x/services/y" */
  constructor(request: string, refusal: Refusal, cause?: unknown) {
    super(`${request}: ${refusal.message}`, cause === undefined ? undefined : { cause });
    this.kind = refusal.kind;
    this.status = refusal.status;
    this.reason = refusal.reason;
    this.retryAfterMs = refusal.retryAfterMs;
    this.causes = refusal.causes;
  }
}

/** Whether it is an ApiError, and of one of these kinds where any are named. */
export function isApiError(error: unknown, ...kinds: ApiErrorKind[]): error is ApiError {
  return error instanceof ApiError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** A field that another manager owns. */
export interface FieldConflict {
  readonly field: string;
  /** Names the manager. */
  readonly message: string;
}

/** What a server-side apply without force ran into; none where the error is another. */
export function fieldConflictsOf(error: unknown): FieldConflict[] {
  if (!isApiError(error, "conflict")) return [];
  return error.causes
    .filter(({ reason }) => reason === "FieldManagerConflict")
    .map(({ field, message }) => ({ field, message }));
}

/** No server asks for a longer pause than this that we obey. */
const RETRY_AFTER_MAX_MS = 5 * 60_000;

/** What a refused request's answer means. @param body its text: a Status object, or whatever a proxy between says */
export function classifyAnswer(
  status: number,
  body: string,
  retryAfter: string | null = null,
): Refusal {
  const said = parseStatus(body);
  const message = said.message || `HTTP ${status} ${body.slice(0, 200)}`.trimEnd();
  const seconds = retryAfterSeconds(retryAfter) ?? said.retryAfterSeconds;
  return {
    kind: kindOf(status, said.reason, message),
    status,
    reason: said.reason,
    message,
    retryAfterMs: seconds === null ? null : Math.min(seconds * 1_000, RETRY_AFTER_MAX_MS),
    causes: said.causes,
  };
}

/** A schema error of a server-side apply comes as HTTP 500: tried again, it would fail for ever. */
const SCHEMA_ERROR = /failed to create typed patch object|field not declared in schema/;
/**
 * A JSON patch that does not fit the object as it is now (a `test` fails, a path is not there) comes as
 * 422 with these words and no cause. It means what 409 means: read it again.
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

/** What a connection's failure means: our deadline, or a server out of reach. */
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

interface Said {
  readonly reason: string;
  readonly message: string;
  readonly retryAfterSeconds: number | null;
  readonly causes: readonly ApiErrorCause[];
}

function parseStatus(body: string): Said {
  const nothing: Said = { reason: "", message: "", retryAfterSeconds: null, causes: [] };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return nothing; // A proxy's page, or half an answer: the HTTP status is all there is.
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
