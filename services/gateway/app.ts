/** Puts a gateway together. */
import type { AddressInfo, Server as NetServer } from "node:net";
import type { FastifyInstance } from "fastify";
import { BidReporter } from "../access/bid-reporter.ts";
import { addInvariants } from "../access/invariants.ts";
import { readOrigins } from "../access/origins.ts";
import { answerErrors } from "../access/problem-edge.ts";
import { createVerifier } from "../access/tokens.ts";
import { Breaker, logChanges, showBreakers } from "../runtime/breaker.ts";
import { createInternalServer, createRegistry } from "../runtime/internal.ts";
import { Lifecycle, pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import { readSecretFile } from "../runtime/secret-file.ts";
import { startTelemetry } from "../runtime/telemetry.ts";
import { startBidding } from "../store/bidding.ts";
import { connectStore, startConnecting, type Store, type StoreUrl } from "../store/connect.ts";
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
  /** Readiness goes off, what is in flight is answered, everything is closed. */
  stop(): Promise<void>;
}

/**
 * Starts a gateway and listens. Redis may be away: bids are refused until it is back.
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
  const verify = createVerifier(env);
  const redisUrl = () => readSecretFile(env.REDIS_URL_FILE);
  const keys = keysOf(env.AUCTION_UID);
  const registry = createRegistry("gateway");
  const metrics = createMetrics(registry, {
    waitingBids: () => bidding.batcher.waiting,
    connections: () => connectionsOf(app.server),
  });

  // Bids have a connection to themselves: reads must not delay them.
  const store = openStore(redisUrl, "gavel-gateway", log, lifecycle);
  const bidding = startBidding({
    env,
    store: openStore(redisUrl, "gavel-gateway-bids", log, lifecycle),
    url: redisUrl,
    keys,
    metrics,
    onConflict: () => metrics.optimistic.conflict.inc(),
    onScript: () => metrics.optimistic.script.inc(),
    tracing,
    log,
    lifecycle,
  });
  const archival = new Breaker({ ...ARCHIVAL_BREAKER, onChange: logChanges(log, "archival") });
  showBreakers(registry, "gavel_gateway_", { redis: bidding.breaker, archival });

  const ready = async () => {
    if (lifecycle.draining) return { ready: false, why: "draining" };
    return bidding.probe().then(
      () => ({ ready: true }),
      () => ({ ready: false, why: "the store does not answer" }),
    );
  };
  const internal = createInternalServer({ ready }, registry);
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
    allowedOrigins: readOrigins(env.ALLOWED_ORIGINS),
    streamUrl: env.STREAM_URL,
    archivalUrl: env.ARCHIVAL_URL,
  });
  // A connection that is closed with an answer fails nobody; one that is closed while it idles may.
  app.server.prependListener("request", (_request, response) => {
    if (lifecycle.draining) response.shouldKeepAlive = false;
  });
  lifecycle.onStop("server", () => app.close());
  lifecycle.onStop("notice", () => pause(env.DRAIN_NOTICE_MS));

  const internalUrl = await listen(internal, env.HOST, env.INTERNAL_PORT);
  const url = await listen(app as unknown as FastifyInstance, env.HOST, env.PORT);
  // Given up first, so that another gateway's clock goes on at once.
  lifecycle.onStop("clock", startClock({ store, keys, log, metrics }));
  log.info({ url, internalUrl, auctionUid: env.AUCTION_UID }, "gateway takes bids");
  return { url, internalUrl, stop: () => lifecycle.stop() };
}

export type AppOptions = ServerOptions & ReadOptions & PlaceBidOptions;

/** The public side, not listening yet: tests may inject requests into it. */
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

function openStore(url: StoreUrl, name: string, log: Logger, lifecycle: Lifecycle): Store {
  const store = connectStore(url, name);
  let reported = false;
  startConnecting(store, (error) => {
    // It retries many times a second: an outage is one line, not thousands.
    if (!reported) log.warn({ err: error, connection: name }, "the store is away");
    reported = true;
  });
  store.on("ready", () => {
    log.info({ connection: name }, "connected to the store");
    reported = false;
  });
  lifecycle.onStop(name, () => store.disconnect());
  return store;
}

function connectionsOf(server: NetServer): Promise<number> {
  return new Promise((resolve) => server.getConnections((_, count) => resolve(count ?? 0)));
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<string> {
  await app.listen({ host, port });
  const { port: taken } = app.server.address() as AddressInfo;
  return `http://${host === "0.0.0.0" ? "localhost" : host}:${taken}`;
}
