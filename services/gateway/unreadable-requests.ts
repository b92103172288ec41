/** Answers to what arrives on a connection and is not HTTP enough to become a request. */
import type { Socket } from "node:net";
import { STATUS_CODES } from "node:http";
import { PROBLEM_TYPE } from "../access/problem-edge.ts";
import { type Problem, problem, type ProblemCode } from "../access/problems.ts";

/**
 * Answers on the bare socket and closes it.
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
  const body = JSON.stringify(refusal);
  const { status } = refusal;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  // A peer that does not read the answer does not keep the socket either.
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
