import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { bearerToken } from "../../access/bearer.ts";
import { refuse } from "../../access/problem-edge.ts";
import type { Verify } from "../../access/tokens.ts";
import type { Logger } from "../../runtime/log.ts";
import { readSecretFile } from "../../runtime/secret-file.ts";

/** The actor of the operator's own token, which has no subject. */
const OPERATOR = "operator";

const actors = new WeakMap<FastifyRequest, string>();

/** The sender of an authorized request: the subject of its token. */
export function actorOf(request: FastifyRequest): string {
  return actors.get(request)!;
}

/**
 * A hook that admits the operator's token and tokens with the scope admin.
 * @param operatorTokenFile has the operator's token; read at each use, because the token may change
 */
export function requireAdmin(verify: Verify, operatorTokenFile: string | null, log: Logger) {
  const isOperator = (token: string): boolean => {
    if (operatorTokenFile === null) return false;
    try {
      return isSame(token, readSecretFile(operatorTokenFile));
    } catch (error) {
      log.warn({ err: error }, "operator token unreadable");
      return false;
    }
  };
  return async (request: FastifyRequest, reply: FastifyReply) => {
    const token = bearerToken(request.headers.authorization);
    if (token !== null && isOperator(token)) return void actors.set(request, OPERATOR);
    const identity = token === null ? null : await verify(token);
    if (identity === null) return refuse(reply, "unauthenticated", "Send a valid bearer token.");
    if (identity.scopes.has("admin")) return void actors.set(request, identity.bidderId);
    return refuse(reply, "forbidden", "The token lacks the scope admin.");
  };
}

/** Compares in constant time, whatever the lengths. */
function isSame(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
