/** The gateway tier in one process: builds its parts, starts them, and stops them in reverse order. */
import type { Server as HttpServer } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { BidReporter } from "../access/bid-reporter.ts";
import { addInvariants } from "../access/invariants-route.ts";
import { readOrigins } from "../access/origins.ts";
import { answerErrors } from "../access/problem-edge.ts";
import { readStoreUrl } from "../access/store-url.ts";
import { createVerifier } from "../access/tokens.ts";
import { Breaker, logChanges, registerBreakerGauge } from "../runtime/breaker.ts";
import { createInternalServer, createRegistry, type Health } from "../runtime/internal.ts";
import { Lifecycle, pause } from "../runtime/lifecycle.ts";
import { listen } from "../runtime/listen.ts";
import type { Logger } from "../runtime/log.ts";
import { startTelemetry } from "../runtime/telemetry.ts";
import { type Bidding, startBidding } from "../store/bidding.ts";
import { StoreConnections } from "../store/connections.ts";
import { keysOf } from "../store/keys.ts";
import { startClock } from "./clock.ts";
import type { GatewayEnv } from "./config.ts";
import { collectDocument, documentRoutes } from "./openapi.ts";
import { ARCHIVAL_BREAKER } from "./bid-history.ts";
import { createMetrics } from "./metrics.ts";
import { refuseOtherMethods } from "./method-not-allowed.ts";
import { pageRoutes } from "./page.ts";
import type { Server } from "./typed-server.ts";
import { placeBidRoute, type PlaceBidOptions } from "./place-bid.ts";
import { readRoutes, type ReadOptions } from "./read-routes.ts";
import { createServer, type ServerOptions } from "./server.ts";

export interface Gateway {
  readonly url: string;
  readonly internalUrl: string;
  /** Fails readiness, answers pending requests, then closes everything. */
  stop(): Promise<void>;
}

/**
 * Starts a gateway and listens. Without Redis, bids are refused until it is back.
 * @throws Error where the configuration or a port is wrong
 */
export async function startGateway(env: GatewayEnv, log: Logger): Promise<Gateway> {
  const lifecycle = new Lifecycle(log);
  try {
    return await start(env, log, lifecycle);
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

async function start(env: GatewayEnv, log: Logger, lifecycle: Lifecycle): Promise<Gateway> {
  const resource = { "gavel.auction.uid": env.AUCTION_UID };
  const telemetry = await startTelemetry(env, "gavel-gateway", resource, log);
  const { tracing } = telemetry;
  lifecycle.onStop("telemetry", () => telemetry.stop());
  const redisUrl = () => readStoreUrl("REDIS_URL_FILE", env.REDIS_URL_FILE);
  const keys = keysOf(env.AUCTION_UID);
  const registry = createRegistry("gateway");
  const metrics = createMetrics(registry, {
    waitingBids: () => bidding.batcher.waiting,
    connections: () => openConnections(),
  });
  const verify = createVerifier(env, (isStale) => metrics.tokenKeysStale.set(isStale ? 1 : 0));

  const connections = new StoreConnections(redisUrl, "gavel-gateway", log, (connected) =>
    metrics.storeUp.set(connected ? 1 : 0),
  );
  lifecycle.onStop("connections", () => connections.close());
  const bidding = startBidding({
    env,
    connections,
    keys,
    metrics,
    onConflict: () => metrics.optimistic.conflict.inc(),
    onScript: () => metrics.optimistic.script.inc(),
    tracing,
    log,
    lifecycle,
  });
  const store = connections.open("reads");
  const archival = new Breaker({ ...ARCHIVAL_BREAKER, onChange: logChanges(log, "archival") });
  registerBreakerGauge(registry, "gavel_gateway_", { redis: bidding.breaker, archival });

  const internal = createInternalServer(healthOf(bidding, lifecycle), registry);
  answerErrors(internal, { log, internalErrors: metrics.internalErrors });
  addInvariants(internal, store, keys);
  lifecycle.onStop("internal server", () => internal.close());

  const app = await createApp({
    log,
    metrics,
    batcher: bidding.batcher,
    verify,
    store,
    keys,
    archival,
    reporter: new BidReporter(tracing, log),
    allowedOrigins: readOrigins(env.ALLOWED_ORIGINS, log),
    streamUrl: env.STREAM_URL,
    archivalUrl: env.ARCHIVAL_URL,
  });
  const openConnections = countConnections(app.server);
  // While draining, close each connection with its next answer: a client may just be using one that is closed idle.
  app.server.prependListener("request", (_request, response) => {
    if (lifecycle.draining) response.shouldKeepAlive = false;
  });
  lifecycle.onStop("server", () => app.close());
  lifecycle.onStop("notice", () => pause(env.DRAIN_NOTICE_MS));

  const internalUrl = await listen(internal, env.INTERNAL_HOST ?? env.HOST, env.INTERNAL_PORT);
  const url = await listen(app as unknown as FastifyInstance, env.HOST, env.PORT, env.REUSE_PORT);
  // Stopped first: another gateway gets the lease at once.
  lifecycle.onStop("clock", startClock({ store, keys, log, metrics }));
  log.info({ url, internalUrl, auctionUid: env.AUCTION_UID }, "gateway listening");
  return { url, internalUrl, stop: () => lifecycle.stop() };
}

export type AppOptions = ServerOptions & ReadOptions & PlaceBidOptions;

/** The public server, not listening yet: tests inject requests into it. */
export async function createApp(options: AppOptions): Promise<Server> {
  const app = await createServer(options);
  await collectDocument(app);
  refuseOtherMethods(app, () => {
    readRoutes(app, options);
    placeBidRoute(app, options);
  });
  await documentRoutes(app);
  await pageRoutes(app, options.streamUrl);
  return app;
}

function healthOf(bidding: Bidding, lifecycle: Lifecycle): Health {
  return {
    async ready() {
      if (lifecycle.draining) return { ready: false, why: "draining" };
      return bidding.probe().then(
        () => ({ ready: true }),
        ({ message }: Error) => ({ ready: false, why: message }),
      );
    },
  };
}

/** Counts the open connections of a server, whichever of its addresses they came to. */
function countConnections(server: HttpServer): () => number {
  let count = 0;
  server.on("connection", (socket: Socket) => {
    count++;
    socket.once("close", () => count--);
  });
  return () => count;
}
