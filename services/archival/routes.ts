/** What the archival tier answers on its internal port, besides health and metrics. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import Type from "typebox";
import { LOT_ID_PATTERN, PAGE_MAX } from "../access/limits.ts";
import { problem, type ProblemCode, retryAfterSeconds } from "../access/problems.ts";
import { KeysUnavailable, type Verify } from "../access/tokens.ts";
import type { Logger } from "../runtime/log.ts";
import { openAuction } from "../store/lifecycle.ts";
import { readAuction } from "../store/lots.ts";
import type { Dependencies } from "./dependencies.ts";
import { bidsBefore, resultOf } from "./history.ts";
import { listDeadLetters, replayDeadLetter } from "./replay.ts";
import { readState, type StateOf } from "./state.ts";

const PAGE_DEFAULT = 50;

const LotParams = Type.Object({ lotId: Type.String({ pattern: LOT_ID_PATTERN }) });
const Limit = Type.Integer({ minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT });
const BidsQuery = Type.Object({
  before: Type.Optional(Type.String({ pattern: "^\\d{1,15}\\.\\d{1,15}$" })),
  limit: Limit,
});
const LetterParams = Type.Object({ deadLetterId: Type.Integer({ minimum: 1 }) });
const LettersQuery = Type.Object({
  cursor: Type.Integer({ minimum: 0, default: 0 }),
  limit: Limit,
});

export type Routed = StateOf & Pick<Dependencies, "postgres">;

export function addRoutes(app: FastifyInstance, of: Routed, verify: Verify, log: Logger): void {
  const { store, keys, archive, postgres } = of;
  const { auctionUid } = of.of;
  app.setErrorHandler(answerError(log));

  app.get<{ Params: Type.Static<typeof LotParams>; Querystring: Type.Static<typeof BidsQuery> }>(
    "/internal/v1/lots/:lotId/bids",
    { schema: { params: LotParams, querystring: BidsQuery } },
    async ({ params, query }) => {
      const [epoch, seq] = (query.before ?? "").split(".").map(Number);
      const before = query.before === undefined ? null : { epoch: epoch!, seq: seq! };
      return postgres.call(() =>
        bidsBefore(archive, auctionUid, params.lotId, before, query.limit),
      );
    },
  );

  app.get<{ Params: Type.Static<typeof LotParams> }>(
    "/internal/v1/lots/:lotId/result",
    { schema: { params: LotParams } },
    async ({ params }, reply) => {
      const result = await postgres.call(() => resultOf(archive, auctionUid, params.lotId));
      return result ?? refuse(reply, "not_found", "No result of this lot is archived (yet).");
    },
  );

  app.get("/internal/v1/state", () => readState(of));

  const admin = { preHandler: requireAdmin(verify) };

  app.post("/internal/v1/open", admin, async (_request, reply) => {
    const auction = await readAuction(store, keys);
    const opensAtMs = auction && (await openAuction(store, keys, auction.lotIds));
    if (opensAtMs === null) return refuse(reply, "unavailable", "The auction is not set up yet.");
    log.info({ opensAtMs }, "the auction is open");
    return { opensAtMs };
  });

  app.get<{ Querystring: Type.Static<typeof LettersQuery> }>(
    "/internal/v1/dead-letters",
    { ...admin, schema: { querystring: LettersQuery } },
    ({ query }) => listDeadLetters(archive, of.of, query.cursor, query.limit),
  );

  app.post<{ Params: Type.Static<typeof LetterParams> }>(
    "/internal/v1/dead-letters/:deadLetterId/replay",
    { ...admin, schema: { params: LetterParams } },
    async ({ params }, reply) => {
      const replayed = await replayDeadLetter(archive, of.of, params.deadLetterId);
      log.info({ ...params, ...replayed }, "a dead letter was replayed");
      if (replayed.outcome !== "not_found") return replayed;
      return refuse(reply, "not_found", "There is no such dead letter that waits for a replay.");
    },
  );
}

function refuse(reply: FastifyReply, code: ProblemCode, detail: string, field?: string) {
  const body = problem(code, detail, field === undefined ? {} : { field });
  const after = retryAfterSeconds(code);
  if (after !== null) reply.header("Retry-After", after);
  if (code === "unauthenticated") reply.header("WWW-Authenticate", "Bearer");
  return reply.code(body.status).type("application/problem+json").send(body);
}

function requireAdmin(verify: Verify) {
  return async (request: FastifyRequest, reply: FastifyReply) => {
    const [, token] = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "") ?? [];
    const identity = token === undefined ? null : await verify(token);
    if (identity === null) return refuse(reply, "unauthenticated", "Send a valid bearer token.");
    if (identity.scopes.has("admin")) return;
    return refuse(reply, "forbidden", "The token lacks the scope admin.");
  };
}

function answerError(log: Logger) {
  return (error: FastifyError, _request: FastifyRequest, reply: FastifyReply) => {
    if (error.validation) {
      const field = error.validation[0]?.instancePath.slice(1) || "?";
      return refuse(reply, "invalid", error.message, field);
    }
    if (error.statusCode === 413) return refuse(reply, "too_large", error.message);
    if (error.statusCode === 415) return refuse(reply, "unsupported_media_type", error.message);
    if (error.statusCode !== undefined && error.statusCode < 500) {
      return refuse(reply, "invalid", error.message);
    }
    log.warn({ err: error }, "a request failed");
    const keys = error instanceof KeysUnavailable;
    const why = keys ? "Tokens cannot be verified at present." : "A store cannot be reached.";
    return refuse(reply, "unavailable", why);
  };
}
