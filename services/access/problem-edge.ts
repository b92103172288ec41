/** The edge of every HTTP server: errors become problems (RFC 9457), and defects of ours are logged and counted. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { Counter, type Registry } from "prom-client";
import { SampledLog, type Logger } from "../runtime/log.ts";
import { type Problem, problem, type ProblemCode, retryAfterSeconds } from "./problems.ts";
import { KeysUnavailable } from "./tokens.ts";
import { isUnavailable } from "./error-class.ts";

/** Thrown if a request cannot be served; it is answered with its problem. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly problem: Problem;

  constructor(refusal: Problem, cause?: unknown) {
    super(refusal.detail, { cause });
    this.problem = refusal;
  }
}

export function invalid(field: string, why: string): ProblemError {
  return new ProblemError(problem("invalid", `${field} ${why}.`, { field }));
}

export const PROBLEM_TYPE = "application/problem+json";

export function sendProblem(reply: FastifyReply, refusal: Problem): FastifyReply {
  const seconds = retryAfterSeconds(refusal.code);
  if (seconds !== null) reply.header("retry-after", seconds);
  if (refusal.code === "unauthenticated") reply.header("www-authenticate", 'Bearer realm="gavel"');
  return reply.code(refusal.status).type(PROBLEM_TYPE).send(refusal);
}

export function refuse(reply: FastifyReply, code: ProblemCode, detail: string): FastifyReply {
  return sendProblem(reply, problem(code, detail));
}

interface ProblemEdge {
  readonly log: Logger;
  readonly internalErrors: Pick<Counter, "inc">;
  /** More fields of the log line of a request that failed. */
  readonly fieldsOf?: (request: FastifyRequest) => object;
}

/** Answers every error of the server's routes and hooks. */
export function answerErrors(app: FastifyInstance, edge: ProblemEdge): void {
  const { internalErrors, fieldsOf } = edge;
  const log = new SampledLog(edge.log);
  app.setErrorHandler((error: Error, request, reply) => {
    const refusal = problemOfError(error, request.routeOptions.bodyLimit);
    if (refusal.code === "internal") internalErrors.inc();
    if (refusal.status >= 500) {
      const route = request.routeOptions.url;
      logFailure(log, error, refusal, { route, ...fieldsOf?.(request) });
    }
    // Unread bytes of a body that is too large must not be taken for the next request.
    if (refusal.code === "too_large") reply.header("connection", "close");
    return sendProblem(reply, refusal);
  });
}

/** Defects at level error, outages at level warn: in both cases with the stack. */
export function logFailure(
  log: SampledLog,
  error: unknown,
  { code }: Problem,
  fields: object,
): void {
  if (code === "internal") log.error({ err: error, code, ...fields }, "request failed: defect");
  else log.warn({ err: error, code, ...fields }, "request failed: dependency unavailable");
}

/** The counter behind the alert GavelInternalErrors. @param prefix of the tier: "gavel_gateway_" */
export function createInternalErrors(registry: Registry, prefix: string): Counter {
  return new Counter({
    name: `${prefix}internal_errors_total`,
    help: "Requests, messages, batches of bids and turns of the lot clock that failed because of a defect in Gavel.",
    registers: [registry],
  });
}

/**
 * The problem that an error is answered with: an expected refusal keeps its code, an outage of a dependency is
 * `unavailable`, everything else is a defect: `internal`.
 */
export function problemOfError(error: unknown, bodyLimit?: number): Problem {
  if (error instanceof ProblemError) return error.problem;
  const refusal = problemOfRequest(error as FastifyError, bodyLimit);
  if (refusal !== null) return refusal;
  if (error instanceof KeysUnavailable) {
    return problem("unavailable", "Tokens cannot be verified at the moment. Nothing was decided.");
  }
  if (isUnavailable(error)) {
    return problem("unavailable", "A store cannot be reached at the moment. Send it again.");
  }
  return problem("internal", "The request could not be answered. The error was logged.");
}

/** What is wrong with the request itself, by Fastify's errors; null for any other error. */
function problemOfRequest(error: FastifyError, bodyLimit: number | undefined): Problem | null {
  const { code, statusCode, validation, validationContext } = error;
  if (validation?.[0]) return problemOfSchema(validation[0], validationContext ?? "body");
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return problem("too_large", `The body of a request may have at most ${bodyLimit} bytes.`);
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return problem("unsupported_media_type", "Send the body as application/json.");
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return problem("invalid", "The URL is not valid.", { field: "url" });
  }
  if (statusCode === undefined || statusCode < 400 || statusCode >= 500) return null;
  // Bad or empty JSON, forbidden names, a wrong length.
  const isOfBody = code?.startsWith("FST_ERR_CTP_") === true || error instanceof SyntaxError;
  return isOfBody
    ? problem("invalid", "The body is not valid JSON.", { field: "body" })
    : problem("invalid", "The request or one of its headers is not valid.", { field: "request" });
}

type SchemaError = NonNullable<FastifyError["validation"]>[number];

/** Names of fields come from outside: a problem repeats so many characters of one. */
const FIELD_MAX = 64;

function problemOfSchema(error: SchemaError, context: string): Problem {
  const { instancePath, keyword, params, message } = error;
  const at = instancePath.slice(1).replaceAll("/", ".");
  const inside = (name: unknown) =>
    [at, String(name)].filter(Boolean).join(".").slice(0, FIELD_MAX);
  switch (keyword) {
    case "required": {
      const field = inside(params["missingProperty"]);
      return problem("invalid", `${field} is missing.`, { field });
    }
    case "additionalProperties": {
      const field = inside(params["additionalProperty"]);
      return problem("invalid", `${field} is not a field of this request.`, { field });
    }
    case "pattern": {
      // The schema's description tells a person more than the expression. Absent unless ajv is verbose.
      const { parentSchema } = error as { parentSchema?: { description?: string } };
      const detail = [`${at} is not valid.`, parentSchema?.description].filter(Boolean).join(" ");
      return problem("invalid", detail, { field: at });
    }
    default: {
      const field = at || context;
      return problem("invalid", `${field} ${message ?? "is not valid"}.`, { field });
    }
  }
}
