import type { FastifyInstance } from "fastify";
import type Type from "typebox";
import type { Store } from "../store/connect.ts";
import { InvariantsQuery, readViolations } from "../store/invariants.ts";
import type { Keys } from "../store/keys.ts";

/**
 * `GET /internal/v1/invariants`: 200 while the auction is well, 503 with what is wrong; with
 * `?archive=current` an archive that is behind is wrong, too. For status checks, which read the status only.
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
