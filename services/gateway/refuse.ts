/** The edge where refusals and errors become answers: always an RFC 9457 problem. */
import type { Socket } from "node:net";
import { STATUS_CODES } from "node:http";
import type { FastifyError, FastifyReply } from "fastify";
import { type Problem, problem, type ProblemCode, retryAfterSeconds } from "../access/problems.ts";
import { KeysUnavailable } from "../access/tokens.ts";

/** Thrown where a request cannot go on, and answered by the error handler. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly problem: Problem;

  constructor(refusal: Problem, cause?: unknown) {
    super(refusal.detail, { cause });
    this.problem = refusal;
  }
}

export function invalid(field: string, why: string): Refused {
  return new Refused(problem("invalid", `${field} ${why}.`, { field }));
}

const JSON_TYPE = "application/problem+json";

export function sendProblem(reply: FastifyReply, refusal: Problem): FastifyReply {
  const seconds = retryAfterSeconds(refusal.code);
  if (seconds !== null) reply.header("retry-after", seconds);
  if (refusal.code === "unauthenticated") reply.header("www-authenticate", 'Bearer realm="gavel"');
  return reply.code(refusal.status).type(JSON_TYPE).send(refusal);
}

/** What an error means to the one who asked; `internal` is ours to look into. */
export function problemOfError(error: FastifyError | Error): Problem {
  if (error instanceof Refused) return error.problem;
  if (error instanceof KeysUnavailable) {
    return problem("unavailable", "Tokens cannot be verified at the moment. Nothing was decided.");
  }
  const { code, statusCode, validation, validationContext } = error as FastifyError;
  if (validation?.[0]) return problemOfSchema(validation[0], validationContext ?? "body");
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return problem("too_large", "The body of a request may have at most 4096 bytes.");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return problem("unsupported_media_type", "Send the body as application/json.");
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
      return problem("invalid", "The URL is not valid.", { field: "url" });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    // What is left below 500 are bodies that do not hold what their headers say: bad or empty JSON,
    // forbidden names in it, a wrong length.
    return problem("invalid", "The body is not valid JSON.", { field: "body" });
  }
  return problem("internal", "The request could not be answered. It was logged.");
}

type SchemaError = NonNullable<FastifyError["validation"]>[number];

/** Names of fields come from outside: no more of one is repeated than this. */
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
      // What the schema says of the field tells a person more than the expression.
      const { description } = (error as { parentSchema?: { description?: string } }).parentSchema!;
      return problem("invalid", `${at} is not valid. ${description}`, { field: at });
    }
    default: {
      const field = at || context;
      return problem("invalid", `${field} ${message ?? "is not valid"}.`, { field });
    }
  }
}

/**
 * For what is not HTTP enough to become a request: answers on the bare socket and closes it.
 * @returns the problem it was answered with; null where nobody is there to be answered
 */
export function refuseConnection(
  error: Error & { code?: string },
  socket: Socket,
): ProblemCode | null {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return null;
  }
  const refusal = problemOfParser(error.code ?? "");
  const body = JSON.stringify(refusal);
  const { status } = refusal;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${JSON_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  // Whoever does not read the answer does not keep the socket either.
  socket.setTimeout(1_000, () => socket.destroy());
  return refusal.code;
}

function problemOfParser(errorCode: string): Problem {
  switch (errorCode) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return problem("timeout", "The request did not arrive in time.");
    case "HPE_HEADER_OVERFLOW":
      return problem("headers_too_large", "URL and headers may have at most 8192 bytes together.");
    default:
      return problem("invalid", "This is not a well-formed HTTP request.", { field: "request" });
  }
}
