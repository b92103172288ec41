/** What a process says: one JSON line for each event that matters, and never a secret. */
import type { Span } from "@opentelemetry/api";
import { type Logger, pino } from "pino";
import { Allowance } from "./allowance.ts";

export type { Logger };

/** JSON lines on standard output. Whatever could be a secret is left out, wherever it stands. */
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

/** What is told of an error. Libraries hang more on theirs: ioredis the command with its password. */
interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ErrorFields;
}

/** Causes of causes that are told. */
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

/** What stands before the last @ of a URL: a password may hold any other sign. */
const IN_URL = /(:\/\/)[^\s"\\]*@/g;
const BEARER = /\b(bearer|basic)(\s+|%20)[A-Za-z0-9._~+/=-]{8,}/gi;
/** A JSON Web Token begins with `{"` in base64. */
const WEB_TOKEN = /\beyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){0,4}/g;

/** The last look at a line, whatever made it: passwords in URLs, and tokens. */
export function withoutSecrets(line: string): string {
  return line
    .replace(IN_URL, `$1${CENSORED}@`)
    .replace(BEARER, `$1 ${CENSORED}`)
    .replace(WEB_TOKEN, CENSORED);
}

/** As OpenTelemetry's log conventions name them; nothing for work that is not traced. */
export function traceIds(span: Span | null | undefined): { trace_id?: string; span_id?: string } {
  if (!span) return {};
  const { traceId, spanId } = span.spanContext();
  return { trace_id: traceId, span_id: spanId };
}

/** As W3C's header has it, of a span that is recorded. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId } = span.spanContext();
  return `00-${traceId}-${spanId}-01`;
}

type SampledLevel = "debug" | "info" | "warn" | "error";

interface Kind {
  readonly allowance: Allowance;
  leftOut: number;
}

/**
 * For events that may come thousands of times a second: so many lines a second of one kind, and then one
 * that says how many were left out. A kind is a message: those are words of ours, and few.
 */
export class SampledLog {
  #kinds = new Map<string, Kind>();
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

  /** Whether it is worth making the fields of a line. */
  enabled(level: SampledLevel): boolean {
    return this.#log.isLevelEnabled(level);
  }

  #write(level: SampledLevel, fields: object, message: string): void {
    if (!this.enabled(level)) return;
    let kind = this.#kinds.get(message);
    if (kind === undefined) {
      kind = { allowance: new Allowance(this.#perSecond), leftOut: 0 };
      this.#kinds.set(message, kind);
    }
    if (kind.allowance.take()) return this.#log[level](fields, message);
    if (kind.leftOut++ > 0) return;
    setTimeout(() => {
      this.#log[level]({ leftOut: kind.leftOut }, message);
      kind.leftOut = 0;
    }, 1_000).unref();
  }
}
