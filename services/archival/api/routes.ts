/** The routes of the internal port, besides health and metrics. */
import type { FastifyInstance } from "fastify";
import Type from "typebox";
import { addInvariants } from "../../access/invariants-route.ts";
import { LOT_ID_PATTERN, PAGE_DEFAULT, PAGE_MAX } from "../../access/limits.ts";
import { answerErrors, refuse } from "../../access/problem-edge.ts";
import type { Verify } from "../../access/tokens.ts";
import type { Logger } from "../../runtime/log.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import type { StoreBreakers } from "../observe/store-probes.ts";
import { readBidsBefore, readResult } from "../postgres/lot-history.ts";
import { addLifecycleRoutes, type LifecycleDependencies } from "./lifecycle-routes.ts";
import { addDeadLetterRoutes } from "./dead-letter-routes.ts";
import { requireAdmin } from "./require-admin.ts";
import { readState, type StateDependencies } from "../observe/state.ts";

const LotParams = Type.Object({ lotId: Type.String({ pattern: LOT_ID_PATTERN }) });
const BidsQuery = Type.Object({
  before: Type.Optional(Type.String({ pattern: "^\\d{1,15}\\.\\d{1,15}$" })),
  limit: Type.Integer({ minimum: 1, maximum: PAGE_MAX, default: PAGE_DEFAULT }),
});

export type RouteDependencies = StateDependencies &
  LifecycleDependencies &
  Pick<StoreBreakers, "postgres"> & {
    readonly operatorTokenFile: string | null;
    readonly metrics: Pick<ArchivalMetrics, "internalErrors">;
  };

export function addRoutes(
  app: FastifyInstance,
  dependencies: RouteDependencies,
  verify: Verify,
  log: Logger,
): void {
  const { auctionUid, store, keys, archive, postgres, operatorTokenFile } = dependencies;
  answerErrors(app, { log, internalErrors: dependencies.metrics.internalErrors });

  app.get<{ Params: Type.Static<typeof LotParams>; Querystring: Type.Static<typeof BidsQuery> }>(
    "/internal/v1/lots/:lotId/bids",
    { schema: { params: LotParams, querystring: BidsQuery } },
    async ({ params, query }) => {
      const [epoch, seq] = (query.before ?? "").split(".").map(Number);
      const before = query.before === undefined ? null : { epoch: epoch!, seq: seq! };
      return postgres.call(() =>
        readBidsBefore(archive, auctionUid, params.lotId, before, query.limit),
      );
    },
  );

  app.get<{ Params: Type.Static<typeof LotParams> }>(
    "/internal/v1/lots/:lotId/result",
    { schema: { params: LotParams } },
    async ({ params }, reply) => {
      const result = await postgres.call(() => readResult(archive, auctionUid, params.lotId));
      return result ?? refuse(reply, "not_found", "No result of this lot is archived (yet).");
    },
  );

  app.get("/internal/v1/state", () => readState(dependencies));

  addInvariants(app, store, keys);

  const admin = { preHandler: requireAdmin(verify, operatorTokenFile, log) };
  addLifecycleRoutes(app, dependencies, admin, log);

  addDeadLetterRoutes(app, dependencies, admin, log);
}
