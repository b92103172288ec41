/** Answers to what Node's HTTP server would answer with nothing, or with no problem, by itself. */
import {
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import { PROBLEM_TYPE } from "./problem-edge.ts";
import { type Problem, problem, type ProblemCode } from "./problems.ts";

/** A peer that does not read the answer does not keep the socket either. */
const UNREAD_MS = 1_000;

/** Answers on a bare socket and closes it. */
export function refuseSocket(
  socket: Socket,
  refusal: Problem,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  const body = JSON.stringify(refusal);
  const { status } = refusal;
  const lines = Object.entries({
    ...headers,
    "content-type": PROBLEM_TYPE,
    "content-length": Buffer.byteLength(body),
    connection: "close",
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`);
  socket.setTimeout(UNREAD_MS, () => socket.destroy());
}

/** Answers a request whose body is not read: it must not be taken for the next request. */
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
 * Answers what is not HTTP enough to become a request.
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

/** Answers requests that Node gives to nobody: an unknown expectation, and CONNECT. */
export function refuseUnserved(server: Server): void {
  server.on("checkExpectation", (_request, response) => {
    const refusal = problem("expectation_failed", "Of Expect, only 100-continue is known.");
    refuseRequest(response, refusal);
  });
  server.on("connect", (_request, socket) => {
    socket.on("error", () => {}); // a peer that disconnects is no error of ours
    refuseSocket(socket as Socket, problem("method_not_allowed", "This is no proxy."));
  });
}

/**
 * HTTP/1.1 demands exactly one Host (RFC 9112, 3.2). With `requireHostHeader: false` Node leaves that to us; its own
 * answer has no body, and it takes two.
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
