/** Problem documents for requests that Node's HTTP server would leave unanswered, or answer without a body. */
import {
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import { PROBLEM_TYPE } from "./problem-edge.ts";
import { type Problem, problem, type ProblemCode, retryAfterSeconds } from "./problems.ts";

/** A peer that does not read the answer loses the socket after this time. */
const UNREAD_MS = 1_000;

/** Answers on a bare socket and closes it. */
export function refuseSocket(
  socket: Socket,
  refusal: Problem,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  const body = JSON.stringify(refusal);
  const { status, code } = refusal;
  const seconds = retryAfterSeconds(code);
  const lines = Object.entries({
    ...headers,
    ...(seconds !== null && { "retry-after": seconds }),
    "content-type": PROBLEM_TYPE,
    "content-length": Buffer.byteLength(body),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
  socket.setTimeout(UNREAD_MS, () => socket.destroy());
}

/** Answers a request without reading its body, which must not be parsed as the next request. */
export function refuseRequest(
  response: ServerResponse,
  refusal: Problem,
  headers: OutgoingHttpHeaders = {},
): void {
  const body = JSON.stringify(refusal);
  response.writeHead(refusal.status, {
    ...headers,
    "content-type": PROBLEM_TYPE,
    "content-length": Buffer.byteLength(body),
    connection: "close",
  });
  response.end(body);
}

/**
 * Answers bytes that cannot be parsed as an HTTP request.
 * @returns the code of the problem; null if the peer is gone
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
  refuseSocket(socket, refusal);
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

/** Answers requests that Node passes to no request handler: an unknown expectation, and CONNECT. */
export function refuseUnserved(server: Server): void {
  server.on("checkExpectation", (_request, response) => {
    const refusal = problem("expectation_failed", "Of Expect, only 100-continue is known.");
    refuseRequest(response, refusal);
  });
  server.on("connect", (_request, socket) => {
    socket.on("error", () => {}); // a disconnecting peer is not an error here
    refuseSocket(socket as Socket, problem("method_not_allowed", "This is no proxy."));
  });
}

/**
 * HTTP/1.1 requires exactly one Host (RFC 9112, 3.2). `requireHostHeader: false` turns off Node's own check, whose
 * answer has no body, and which accepts two.
 */
export function problemOfHost({ httpVersion, rawHeaders }: IncomingMessage): Problem | null {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  if (hosts === 1 || (hosts === 0 && httpVersion === "1.0")) return null;
  return problem("invalid", "A request has exactly one Host.", { field: "host" });
}
