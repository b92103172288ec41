/** What an operator tells an auction to do: rules, opening, fence, proof and removal. */
import type { FastifyInstance, FastifyReply, preHandlerAsyncHookHandler } from "fastify";
import Type from "typebox";
import { refuse } from "../../access/problem-edge.ts";
import type { Logger } from "../../runtime/log.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { rulesHashOf } from "../../store/define-lots.ts";
import { fenceAuction, openAuction } from "../../store/lifecycle.ts";
import { readAuction } from "../../store/lots.ts";
import { clean, type CleanOf } from "./clean.ts";
import { markFenced } from "../postgres/auction-marks.ts";
import type { Rules } from "../definition/rules.ts";
import { readDefinition, WrongDefinition } from "../definition/rules-file.ts";
import { verifyArchive } from "./completeness-proof.ts";

/** Rules that no store could be asked about by then are to be sent again. */
const SETTLE_TIMEOUT_MS = 10_000;

const CleanBody = Type.Union([
  Type.Object({ force: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
  Type.Null(),
]);

export type Ended = CleanOf & { readonly rules: Rules };

const NOT_SET_UP = "The auction is not set up.";

/** They may all be repeated: each says what is so. */
export function addLifecycleRoutes(
  app: FastifyInstance,
  of: Ended,
  admin: { readonly preHandler: preHandlerAsyncHookHandler },
  log: Logger,
): void {
  const { store, keys, archive, rules } = of;
  const { auctionUid } = of.of;
  const notSetUp = (reply: FastifyReply) => refuse(reply, "unavailable", NOT_SET_UP);

  app.post<{ Body: unknown }>("/internal/v1/rules", admin, async ({ body }, reply) => {
    let definition;
    try {
      definition = readDefinition(body, "the body", auctionUid);
    } catch (error) {
      if (!(error instanceof WrongDefinition)) throw error;
      return refuse(reply, "invalid", error.message);
    }
    const settled = await inTime(rules.settle(definition));
    if (settled.outcome === "refused") return refuse(reply, "refused", settled.why);
    return { outcome: "defined", rulesHash: rulesHashOf(definition) };
  });

  app.post("/internal/v1/open", admin, async (_request, reply) => {
    const auction = await readAuction(store, keys);
    if (auction === null) return notSetUp(reply);
    const opensAtMs = await openAuction(store, keys, auction.lotIds);
    if (opensAtMs === null && auction.fencedId !== null) {
      return refuse(reply, "refused", "The auction is fenced: it never opens any more.");
    }
    if (opensAtMs === null) return notSetUp(reply);
    log.info({ opensAtMs }, "the auction is open");
    return { opensAtMs };
  });

  app.post("/internal/v1/fence", admin, async (_request, reply) => {
    const auction = await readAuction(store, keys);
    if (auction === null) return notSetUp(reply);
    const fence = await fenceAuction(store, keys, auction.lotIds);
    if (fence === null) return refuse(reply, "unavailable", "The store must be compared first.");
    await markFenced(archive, auctionUid, fence);
    if (auction.fencedId === null) log.info(fence, "all intake has ended");
    return { fencedId: fence.fencedId };
  });

  app.post("/internal/v1/verify", admin, async (_request, reply) => {
    const verified = await verifyArchive(of);
    if (verified === null) return notSetUp(reply);
    const { ok, lots, events, differences } = verified;
    if (ok) log.info({ lots, events }, "the archive has everything");
    else log.error({ differences }, "the archive differs from what was decided");
    return verified;
  });

  app.post<{ Body: Type.Static<typeof CleanBody> | undefined }>(
    "/internal/v1/clean",
    { ...admin, schema: { body: CleanBody } },
    async ({ body }, reply) => {
      const cleaned = await clean(of, body?.force === true);
      if (cleaned.outcome === "refused") return refuse(reply, "refused", cleaned.why);
      log.info("the auction is gone from Redis and JetStream");
      return { cleaned: true };
    },
  );
}

/** @throws Error when it takes longer; it may still be done later */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new StoreUnavailable("the stores took too long")),
      SETTLE_TIMEOUT_MS,
    );
  });
  work.catch(() => {}); // Nobody may be waiting any more.
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
