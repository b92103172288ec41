/** The routes for the operator: rules, opening, fence, completeness proof, removal. */
import type { FastifyInstance, FastifyReply, preHandlerAsyncHookHandler } from "fastify";
import Type from "typebox";
import { refuse } from "../../access/problem-edge.ts";
import type { Logger } from "../../runtime/log.ts";
import { rulesHashOf } from "../../store/define-lots.ts";
import { fenceAuction, openAuction } from "../../store/lot-changes.ts";
import { readAuction } from "../../store/lots.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { cleanAuction, type CleanDependencies } from "./clean.ts";
import { markFenced } from "../postgres/auction-marks.ts";
import type { Rules } from "../definition/rules.ts";
import { InvalidDefinition, parseDefinition } from "../definition/rules-file.ts";
import { proveCompleteness } from "./completeness-proof.ts";

/** Later the caller must send the rules again. */
const APPLY_TIMEOUT_MS = 10_000;

const CleanBody = Type.Union([
  Type.Object({ force: Type.Optional(Type.Boolean()) }, { additionalProperties: false }),
  Type.Null(),
]);

export type LifecycleDependencies = CleanDependencies & { readonly rules: Rules };

const NOT_SET_UP = "The auction is not set up.";

/** Every call may be repeated: it answers with the present state. */
export function addLifecycleRoutes(
  app: FastifyInstance,
  dependencies: LifecycleDependencies,
  admin: { readonly preHandler: preHandlerAsyncHookHandler },
  log: Logger,
): void {
  const { auctionUid, store, keys, archive, rules } = dependencies;
  const notSetUp = (reply: FastifyReply) => refuse(reply, "unavailable", NOT_SET_UP);

  app.post<{ Body: unknown }>("/internal/v1/rules", admin, async ({ body }, reply) => {
    let definition;
    try {
      definition = parseDefinition(body, "the body", auctionUid);
    } catch (error) {
      if (!(error instanceof InvalidDefinition)) throw error;
      return refuse(reply, "invalid", error.message);
    }
    const applied = await inTime(rules.apply(definition));
    if (applied.outcome === "refused") return refuse(reply, "refused", applied.why);
    if (applied.outcome === "outdated") {
      return refuse(reply, "refused", `generation ${definition.generation} is not the newest`);
    }
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
    log.info({ opensAtMs }, "auction opened");
    return { opensAtMs };
  });

  app.post("/internal/v1/fence", admin, async (_request, reply) => {
    const auction = await readAuction(store, keys);
    if (auction === null) return notSetUp(reply);
    const fence = await fenceAuction(store, keys, auction.lotIds);
    if (fence === null) return refuse(reply, "unavailable", "The store must be compared first.");
    await markFenced(archive, auctionUid, fence);
    if (auction.fencedId === null) log.info(fence, "auction fenced");
    return { fencedId: fence.fencedId };
  });

  app.post("/internal/v1/verify", admin, async (_request, reply) => {
    const proof = await proveCompleteness(dependencies);
    if (proof === null) return notSetUp(reply);
    const { ok, lots, events, differences } = proof;
    if (ok) log.info({ lots, events }, "archive complete");
    else log.error({ differences }, "archive incomplete");
    return proof;
  });

  app.post<{ Body: Type.Static<typeof CleanBody> | undefined }>(
    "/internal/v1/clean",
    { ...admin, schema: { body: CleanBody } },
    async ({ body }, reply) => {
      const cleaned = await cleanAuction(dependencies, body?.force === true);
      if (cleaned.outcome === "refused") return refuse(reply, "refused", cleaned.why);
      log.info("auction removed from Redis and JetStream");
      return { cleaned: true };
    },
  );
}

/** @throws Error when it takes longer; the work may still finish later */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new StoreUnavailable("the stores took too long")),
      APPLY_TIMEOUT_MS,
    );
  });
  work.catch(() => {}); // Nobody may be waiting any more.
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
