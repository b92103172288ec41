import type { FastifyReply, FastifyRequest } from "fastify";
import { bearerToken } from "../access/bearer.ts";
import { sendProblem } from "../access/problem-edge.ts";
import { type Problem, problem } from "../access/problems.ts";
import type { Scope, Verify } from "../access/tokens.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** From the verified token; empty where a route asks for none. */
    bidderId: string;
  }
}

/** The same words for every bad token: which part of it was wrong is nobody's business. */
const UNAUTHENTICATED: Problem = problem(
  "unauthenticated",
  "Send a valid token: Authorization: Bearer <token>.",
);

/**
 * A hook that lets only verified tokens with a scope pass. It runs before the body is read, so that a
 * stranger cannot make us read one.
 */
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
