import { expect, test } from "vitest";
import { isUnavailable } from "../../access/error-class.ts";
import { Breaker } from "../../runtime/breaker.ts";
import { createInternalServer, createRegistry } from "../../runtime/internal.ts";
import { createLog } from "../../runtime/log.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { createMetrics } from "../metrics.ts";
import { addRoutes, type RouteDependencies } from "./routes.ts";

/** The routes over an archive whose every query fails in a given way. */
function routesOver(error: Error) {
  const registry = createRegistry("archival");
  const app = createInternalServer({ ready: async () => ({ ready: true }) }, registry);
  const routed = {
    auctionUid: "routes-test",
    archive: {
      query: async () => {
        throw error;
      },
    },
    postgres: new Breaker({
      failures: 2,
      waitMs: 10_000,
      waitMaxMs: 10_000,
      isOutage: isUnavailable,
    }),
    operatorTokenFile: null,
    metrics: createMetrics(registry),
  } as unknown as RouteDependencies;
  addRoutes(app, routed, async () => null, createLog("routes-test", "silent"));
  return app;
}

test("a defect in a route is answered internal, and not as a store that cannot be reached", async () => {
  const app = routesOver(new TypeError("Cannot read properties of undefined"));
  // More than the consecutive failures that open the circuit breaker: a defect does not count as one.
  for (let i = 0; i < 4; i++) {
    const answer = await app.inject("/internal/v1/lots/lot-1/bids");
    expect([answer.statusCode, answer.json().code]).toEqual([500, "internal"]);
  }
  expect((await app.inject("/metrics")).body).toMatch(
    /gavel_archival_internal_errors_total\S* 4\n/,
  );
});

test("a store outage is answered unavailable", async () => {
  const app = routesOver(new StoreUnavailable("away"));
  const answer = await app.inject("/internal/v1/lots/lot-1/bids");
  expect([answer.statusCode, answer.json().code]).toEqual([503, "unavailable"]);
  expect(answer.headers["retry-after"]).toMatch(/^[1-9]$/);
});
