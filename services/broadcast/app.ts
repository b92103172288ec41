/** The broadcast tier in one process: builds its parts, starts them, and stops them in reverse order. */
import { randomUUID } from "node:crypto";
import { BidReporter } from "../access/bid-reporter.ts";
import { readOrigins } from "../access/origins.ts";
import { readStoreUrl } from "../access/store-url.ts";
import { createVerifier } from "../access/tokens.ts";
import { problemOf } from "../access/problems.ts";
import { registerBreakerGauge } from "../runtime/breaker.ts";
import { createInternalServer, createRegistry, type Health } from "../runtime/internal.ts";
import { Lifecycle, pause } from "../runtime/lifecycle.ts";
import { addressesOf, hostInUrl, listen } from "../runtime/listen.ts";
import type { Logger } from "../runtime/log.ts";
import type { Tracing } from "../runtime/tracing.ts";
import { startTelemetry } from "../runtime/telemetry.ts";
import { type Bidding, startBidding } from "../store/bidding.ts";
import type { Store } from "../store/connect.ts";
import { StoreConnections } from "../store/connections.ts";
import { type Keys, keysOf } from "../store/keys.ts";
import { MessageHandler } from "./message-handler.ts";
import type { BroadcastEnv } from "./config.ts";
import { FanOut } from "./fan-out.ts";
import { Feed, FEED_TIMEOUT_MS } from "./feed.ts";
import { Hub } from "./hub.ts";
import { RecentEntries } from "./recent-entries.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { DriftCheck } from "./drift-check.ts";
import { GapFill, type GapFillResult } from "./gap-fill.ts";
import { Resume } from "./resume.ts";
import { StreamServer } from "./server.ts";
import { StoreClock } from "./store-clock.ts";
import type { Viewer } from "./viewer.ts";

/** Share of DRAIN_MS for closing the sockets; the rest is for what stops after them. */
const SOCKETS_SHARE = 0.8;

export interface Broadcast {
  /** ws://host:port/v1/stream */
  readonly url: string;
  readonly internalUrl: string;
  readonly metrics: Metrics;
  /** Drains and stops; within DRAIN_MS. */
  stop(): Promise<void>;
}

/** Starts without waiting for Redis: it connects when Redis is up, and /readyz says whether it has. */
export async function startBroadcast(env: BroadcastEnv, log: Logger): Promise<Broadcast> {
  const lifecycle = new Lifecycle(log);
  try {
    return await start(env, log, lifecycle);
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

async function start(env: BroadcastEnv, log: Logger, lifecycle: Lifecycle): Promise<Broadcast> {
  const resource = { "gavel.auction.uid": env.AUCTION_UID };
  const telemetry = await startTelemetry(env, "gavel-broadcast", resource, log);
  const { tracing } = telemetry;
  lifecycle.onStop("telemetry", () => telemetry.stop());
  const keys = keysOf(env.AUCTION_UID);

  const hub = new Hub();
  const traffic = { frames: 0, bytes: 0, conflated: 0 };
  const registry = createRegistry("broadcast");
  const metrics = createMetrics(registry, {
    traffic,
    sockets: () => server.count,
    behind: () => server.behind,
    subscriptions: () => hub.subscriptions,
    waitingBids: () => bidding.batcher.waiting,
  });
  const connections = openConnections(env, metrics, log);
  lifecycle.onStop("connections", () => connections.close());
  const bidding = startBidding({
    env,
    connections,
    keys,
    metrics,
    onConflict: () => metrics.conflicts.inc(),
    tracing,
    log,
    lifecycle,
  });
  registerBreakerGauge(registry, "gavel_broadcast_", { redis: bidding.breaker });
  // Reads, bids and the feed have a connection each: a long reply on one must not delay the others.
  const store = connections.open("reads");
  const blocking = connections.open("feed", FEED_TIMEOUT_MS);
  const shared = { env, store, blocking, keys, hub, metrics, tracing, log };
  const follower = followStore(shared);
  const server: StreamServer = new StreamServer({
    messageHandler: createMessageHandler(shared, follower, bidding),
    metrics,
    traffic,
    maxSockets: env.MAX_SOCKETS,
    messagesPerSecond: env.MESSAGES_PER_SECOND,
    allowedOrigins: readOrigins(env.ALLOWED_ORIGINS, log),
  });

  const stopping = new AbortController();
  const running = follower.run(stopping.signal);
  lifecycle.onStop("feed", () => {
    stopping.abort();
    return running;
  });
  const health = healthOf(bidding, follower.driftCheck, lifecycle);
  const internal = createInternalServer(health, registry);
  lifecycle.onStop("internal server", () => internal.close());
  lifecycle.onStop("sockets", () => server.drain(env.DRAIN_MS * SOCKETS_SHARE));
  lifecycle.onStop("notice", () => pause(env.DRAIN_NOTICE_MS));
  const internalUrl = await listen(internal, env.INTERNAL_HOST ?? env.HOST, env.INTERNAL_PORT);
  const port = await server.listen(env.HOST, env.PORT, env.REUSE_PORT);
  log.info({ port, internalUrl, auctionUid: env.AUCTION_UID }, "broadcast listening");
  const host = hostInUrl(addressesOf(env.HOST)[0]);
  const stop = () => lifecycle.stop();
  return { url: `ws://${host}:${port}/v1/stream`, internalUrl, metrics, stop };
}

/** The random part of the name tells the connections of this process from those of the others. */
function openConnections(
  { REDIS_URL_FILE }: BroadcastEnv,
  { storeUp }: Metrics,
  log: Logger,
): StoreConnections {
  return new StoreConnections(
    () => readStoreUrl("REDIS_URL_FILE", REDIS_URL_FILE),
    `gavel-broadcast-${randomUUID().slice(0, 8)}`,
    log,
    (connected) => storeUp.set(connected ? 1 : 0),
  );
}

/** What the parts of one process share. */
interface Shared {
  readonly env: BroadcastEnv;
  readonly store: Store;
  /** The feed's own connection, because its reads block. */
  readonly blocking: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly tracing: Tracing | null;
  readonly log: Logger;
}

/** Keeps the hub at the store's state: the feed reads events, gap fill and drift check bring what it missed. */
function followStore({ store, blocking, keys, hub, metrics, tracing, log }: Shared) {
  const fanOut = new FanOut(hub, (seconds) => metrics.fanOut.observe(seconds));
  const clock = new StoreClock();
  const onFilled = (result: GapFillResult) => metrics.gapFills.inc({ result });
  const gapFill = new GapFill({ store, keys, hub, fanOut, clock, onFilled });
  const recentEntries = new RecentEntries();
  const driftCheck = new DriftCheck({
    store,
    keys,
    hub,
    gapFill,
    recentEntries,
    clock,
    log,
    onRemoved: (lotId, readers) => endSubscriptions(lotId, readers as readonly Viewer[], log),
    onChanged: () => void fanOut.run(),
  });
  const feed = new Feed({
    blocking,
    store,
    keys,
    hub,
    fanOut,
    gapFill,
    driftCheck,
    recentEntries,
    clock,
    log,
    tracing,
    onLag: (seconds) => metrics.lag.observe(seconds),
  });
  const run = (signal: AbortSignal) => Promise.all([feed.run(signal), driftCheck.run(signal)]);
  return { clock, gapFill, driftCheck, run };
}

function createMessageHandler(
  { env, store, keys, hub, metrics, tracing, log }: Shared,
  { clock, gapFill, driftCheck }: ReturnType<typeof followStore>,
  { batcher }: Bidding,
): MessageHandler {
  return new MessageHandler({
    hub,
    batcher,
    clock,
    log,
    reporter: new BidReporter(tracing, log),
    resume: new Resume(store, keys, hub, gapFill),
    verify: createVerifier(env, (isStale) => metrics.tokenKeysStale.set(isStale ? 1 : 0)),
    maxLotsPerSocket: env.MAX_LOTS_PER_SOCKET,
    defined: () => driftCheck.defined,
    onBid: (outcome) => metrics.bids.inc({ outcome }),
    onResume: (result) => metrics.resumes.inc({ result }),
    onRejected: (reason) => metrics.rejected.inc({ reason }),
    onInternalError: () => metrics.internalErrors.inc(),
    onUnavailable: (why) => metrics.unavailable[why].inc(),
    onMessage: (type, outcome, seconds) => metrics.messages.observe({ type, outcome }, seconds),
  });
}

/** Tells the viewers of a lot that the auction no longer has it. */
function endSubscriptions(lotId: string, viewers: readonly Viewer[], log: Logger): void {
  log.info({ lotId, viewers: viewers.length }, "lot removed from the auction");
  for (const viewer of viewers) {
    viewer.watched.delete(lotId);
    viewer.send({ type: "error", lotId, problem: problemOf({ outcome: "unknown_lot" }) });
  }
}

function healthOf(bidding: Bidding, driftCheck: DriftCheck, lifecycle: Lifecycle): Health {
  return {
    async ready() {
      if (lifecycle.draining) return { ready: false, why: "draining" };
      try {
        await bidding.probe();
        return driftCheck.checked ? { ready: true } : { ready: false, why: "starting" };
      } catch (error) {
        return { ready: false, why: (error as Error).message };
      }
    },
  };
}
