/** The routes of dead letters: list, show, replay, discard. */
import type { FastifyInstance, FastifyReply, preHandlerAsyncHookHandler } from "fastify";
import Type from "typebox";
import { PAGE_DEFAULT, PAGE_MAX } from "../../access/limits.ts";
import { refuse } from "../../access/problem-edge.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Archive } from "../postgres/connection.ts";
import { discardDeadLetter, listDeadLetters, readDeadLetter } from "../postgres/dead-letters.ts";
import { replayDeadLetter } from "./replay.ts";
import { actorOf } from "./require-admin.ts";

const WHY_MAX = 500;

const LetterParams = Type.Object({ deadLetterId: Type.Integer({ minimum: 1 }) });
const LettersQuery = Type.Object({
  cursor: Type.Integer({ minimum: 0, default: 0 }),
  limit: Type.Integer({ minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT }),
  waiting: Type.Boolean({ default: false }),
});
const DiscardBody = Type.Object(
  {
    reason: Type.String({
      minLength: 1,
      maxLength: WHY_MAX,
      pattern: "^[^\\p{Cc}]*\\S[^\\p{Cc}]*$",
      description: `One line of 1 to ${WHY_MAX} characters.`,
    }),
  },
  { additionalProperties: false },
);

type OfLetter = { Params: Type.Static<typeof LetterParams> };

export function addDeadLetterRoutes(
  app: FastifyInstance,
  { auctionUid, archive }: { readonly auctionUid: string; readonly archive: Archive },
  admin: { readonly preHandler: preHandlerAsyncHookHandler },
  log: Logger,
): void {
  const path = "/internal/v1/dead-letters";
  const params = { params: LetterParams };
  const notWaiting = (reply: FastifyReply) =>
    refuse(reply, "not_found", "There is no such dead letter that waits for a replay or discard.");

  app.get<{ Querystring: Type.Static<typeof LettersQuery> }>(
    path,
    { ...admin, schema: { querystring: LettersQuery } },
    ({ query: { cursor, limit, waiting } }) =>
      listDeadLetters(archive, auctionUid, { afterId: cursor, limit, waiting }),
  );

  app.get<OfLetter>(
    `${path}/:deadLetterId`,
    { ...admin, schema: params },
    async ({ params: { deadLetterId } }, reply) => {
      const letter = await readDeadLetter(archive, auctionUid, deadLetterId);
      return letter ?? refuse(reply, "not_found", "There is no such dead letter.");
    },
  );

  app.post<OfLetter>(
    `${path}/:deadLetterId/replay`,
    { ...admin, schema: params },
    async (request, reply) => {
      const { deadLetterId } = request.params;
      const replayed = await replayDeadLetter(archive, auctionUid, deadLetterId);
      log.info({ deadLetterId, actor: actorOf(request), ...replayed }, "dead letter replayed");
      return replayed.outcome === "not_found" ? notWaiting(reply) : replayed;
    },
  );

  app.post<OfLetter & { Body: Type.Static<typeof DiscardBody> }>(
    `${path}/:deadLetterId/discard`,
    { ...admin, schema: { ...params, body: DiscardBody } },
    async (request, reply) => {
      const { deadLetterId } = request.params;
      const discard = { by: actorOf(request), why: request.body.reason };
      const isDiscarded = await discardDeadLetter(archive, auctionUid, deadLetterId, discard);
      if (!isDiscarded) return notWaiting(reply);
      log.warn({ deadLetterId, actor: discard.by, reason: discard.why }, "dead letter discarded");
      return { outcome: "discarded" };
    },
  );
}
