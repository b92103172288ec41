/** Structured logs: JSON lines without secrets. */
import type { Span } from "@opentelemetry/api";
import { type Logger, pino } from "pino";
import { TokenBucket } from "./token-bucket.ts";

export type { Logger };

/** Writes JSON lines to standard output. Secrets are removed, in whatever field they are. */
export function createLog(name: string, level: string): Logger {
  return pino({
    name,
    level,
    redact: {
      paths: ["token", "authorization", "password", "*.token", "*.authorization", "*.password"],
      censor: CENSORED,
    },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: errorFields },
    hooks: { streamWrite: withoutSecrets },
  });
}

const CENSORED = "[redacted]";

/** The logged fields of an error. Other fields may hold secrets: ioredis attaches the AUTH command. */
interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
}

/** How deep `cause` is followed. */
const CAUSES_MAX = 4;

function errorFields(error: unknown, depth = 0): ErrorFields {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { name, message, stack, cause } = error;
  const { code } = error as { code?: unknown };
  return {
    type: name,
    message,
    ...(typeof code === "string" || typeof code === "number" ? { code: String(code) } : null),
    ...(stack === undefined ? null : { stack }),
    ...(cause === undefined || depth >= CAUSES_MAX
      ? null
      : { cause: errorFields(cause, depth + 1) }),
  };
}

/** The user and password of a URL: all before the last @, as a password may hold any other character. */
const IN_URL = /(:\/\/)[^\s"\\]*@/g;
const BEARER = /\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=-]{8,}/gi;
/** A JSON Web Token begins with `{"` in base64. */
const WEB_TOKEN = /\beyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){0,4}/g;

/** Removes passwords in URLs, and tokens, from a finished line. */
export function withoutSecrets(line: string): string {
  return line
    .replace(IN_URL, `$1${CENSORED}@`)
    .replace(BEARER, `$1 ${CENSORED}`)
    .replace(WEB_TOKEN, CENSORED);
}

/** Trace fields by OpenTelemetry's log conventions; none for work that is not traced. */
export function traceIds(span: Span | null | undefined): { trace_id?: string; span_id?: string } {
  if (!span) return {};
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

/** The W3C header of a recorded span. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId } = span.spanContext();
  return `00-${traceId}-${spanId}-01`;
}

type SampledLevel = "debug" | "info" | "warn" | "error";

interface MessageBudget {
  readonly bucket: TokenBucket;
  leftOut: number;
}

/**
 * For events that may occur thousands of times a second: up to `perSecond` lines a second of each message,
 * and then one line with the number of lines left out. Messages are constants, so there are few.
 */
export class SampledLog {
  #budgets = new Map<string, MessageBudget>();
  readonly #log: Logger;
  readonly #perSecond: number;

  constructor(log: Logger, perSecond = 5) {
    this.#log = log;
    this.#perSecond = perSecond;
  }

  debug(fields: object, message: string): void {
    this.#write("debug", fields, message);
  }

  info(fields: object, message: string): void {
    this.#write("info", fields, message);
  }

  warn(fields: object, message: string): void {
    this.#write("warn", fields, message);
  }

  error(fields: object, message: string): void {
    this.#write("error", fields, message);
  }

  /** Whether lines of the level are written: before building expensive fields. */
  enabled(level: SampledLevel): boolean {
    return this.#log.isLevelEnabled(level);
  }

  #write(level: SampledLevel, fields: object, message: string): void {
    if (!this.enabled(level)) return;
    let budget = this.#budgets.get(message);
    if (budget === undefined) {
      budget = { bucket: new TokenBucket(this.#perSecond, this.#perSecond), leftOut: 0 };
      this.#budgets.set(message, budget);
    }
    if (budget.bucket.take()) return this.#log[level](fields, message);
    if (budget.leftOut++ > 0) return;
    setTimeout(() => {
      this.#log[level]({ leftOut: budget.leftOut }, message);
      budget.leftOut = 0;
    }, 1_000).unref();
  }
}
