import type { FastifyInstance } from "fastify";
import type Type from "typebox";
import type { Store } from "../store/connect.ts";
import { InvariantsQuery, readViolations } from "../store/health-summary.ts";
import type { Keys } from "../store/keys.ts";

/**
 * `GET /internal/v1/invariants`: 200 without violations, otherwise 503 with the list of them. With
 * `?archive=current` an archive that lags is a violation, too. For status checks, which read only the status.
 */
export function addInvariants(app: FastifyInstance, store: Store, keys: Keys): void {
  app.get<{ Querystring: Type.Static<typeof InvariantsQuery> }>(
    "/internal/v1/invariants",
    { schema: { querystring: InvariantsQuery } },
    async ({ query }, reply) => {
      const violations = await readViolations(store, keys, query.archive === "current");
      return reply.code(violations.length === 0 ? 200 : 503).send({ violations });
    },
  );
}
