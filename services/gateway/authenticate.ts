import type { FastifyReply, FastifyRequest } from "fastify";
import { bearerToken } from "../access/bearer.ts";
import { sendProblem } from "../access/problem-edge.ts";
import { type Problem, problem } from "../access/problems.ts";
import type { Scope, Verify } from "../access/tokens.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** From the verified token; empty on routes without authentication. */
    bidderId: string;
  }
}

/** The same problem for every bad token: an attacker must not learn which part of it was wrong. */
const UNAUTHENTICATED: Problem = problem(
  "unauthenticated",
  "Send a valid token: Authorization: Bearer <token>.",
);

/** A hook that requires a valid token with a scope. It runs before the body is read. */
export function authenticate(verify: Verify, scope: Scope) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const token = bearerToken(request.headers.authorization);
    const identity = token === null ? null : await verify(token);
    if (identity === null) return sendProblem(reply, UNAUTHENTICATED);
    if (!identity.scopes.has(scope)) {
      return sendProblem(reply, problem("forbidden", `The token lacks the scope "${scope}".`));
    }
    request.bidderId = identity.bidderId;
  };
}
