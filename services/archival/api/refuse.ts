import type { FastifyReply } from "fastify";
import { problem, type ProblemCode, retryAfterSeconds } from "../../access/problems.ts";

export function refuse(reply: FastifyReply, code: ProblemCode, detail: string, field?: string) {
  const body = problem(code, detail, field === undefined ? {} : { field });
  const after = retryAfterSeconds(code);
  if (after !== null) reply.header("Retry-After", after);
  if (code === "unauthenticated") reply.header("WWW-Authenticate", "Bearer");
  return reply.code(body.status).type("application/problem+json").send(body);
}
