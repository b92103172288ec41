import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { createVerifier } from "../access/tokens.ts";
import { type Bus, connectBus } from "../bus/connect.ts";
import { showBreakers } from "../runtime/breaker.ts";
import { createInternalServer, createRegistry } from "../runtime/internal.ts";
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import { readSecretFile } from "../runtime/secret-file.ts";
import { startTelemetry } from "../runtime/telemetry.ts";
import { connectStore, startConnecting, type Store } from "../store/connect.ts";
import { keysOf } from "../store/keys.ts";
import { StoreUnavailable } from "../store/unreachable.ts";
import { Audited, createAuditMetrics } from "./observe/invariant-monitor.ts";
import type { ArchivalEnv } from "./config.ts";
import { watchDependencies } from "./observe/dependencies.ts";
import { createMetrics, type Dependency, showReading } from "./metrics.ts";
import { connectArchive } from "./postgres/connection.ts";
import { Relayed } from "./pipeline/relayed-positions.ts";
import { addRoutes } from "./api/routes.ts";
import { readRulesFile } from "./definition/rules-file.ts";
import { Rules } from "./definition/rules.ts";
import { checkOf, serve, type Standing } from "./serve.ts";
import { readGauges, type StateOf } from "./observe/state.ts";
import { TIMING, type Timing } from "./pipeline/timing.ts";
import { createWellBeing, keepLooking } from "./observe/store-gauges.ts";

const GAUGES_MS = 1_000;

export interface Archival {
  /** Of the internal port: the tier has no other. */
  readonly internalUrl: string;
  /** Finishes the batch in hand, and gives the lease back. */
  stop(): Promise<void>;
}

/**
 * Starts the tier. It listens at once and waits, in the background, for stores that are away.
 * @throws Error for a wrong rules file, secret or port
 */
export async function startArchival(
  env: ArchivalEnv,
  log: Logger,
  timing: Timing = TIMING,
): Promise<Archival> {
  const definition = readRulesFile(env.RULES_FILE, env.AUCTION_UID);
  const resource = { "gavel.auction.uid": env.AUCTION_UID };
  const telemetry = await startTelemetry(env, "gavel-archival", resource, log);
  const readStoreUrl = () => readSecretFile(env.REDIS_URL_FILE);
  const keys = keysOf(env.AUCTION_UID);
  const store = connectStore(readStoreUrl, "archival");
  const archive = connectArchive(
    () => readSecretFile(env.POSTGRES_URL_FILE),
    (error) => log.warn({ err: error }, "an idle connection to Postgres broke"),
  );
  const connecting = connectBus(() => readSecretFile(env.NATS_URL_FILE), "archival");
  let bus: Bus | null = null;
  void connecting.then((connected) => (bus = connected));

  const standing: Standing = { phase: "starting", progress: null, failed: null };
  const of = { auctionUid: env.AUCTION_UID, partition: 0 };
  const ending = new AbortController();
  const stopping = new Promise<never>((_, reject) => {
    const stop = () => reject(new StoreUnavailable("stopping"));
    ending.signal.addEventListener("abort", stop, { once: true });
  });
  stopping.catch(() => {}); // Nobody may be waiting.
  const reachBus = () => Promise.race([connecting, stopping]);
  const registry = createRegistry("archival");
  const metrics = createMetrics(registry);
  const checked = {
    of,
    store,
    readStoreUrl,
    keys,
    archive,
    bus: reachBus,
    maxBytes: env.OUTBOX_MAX_BYTES,
    metrics,
    log,
  };
  const rules = new Rules(env.RULES_FILE, () => checkOf(checked, standing), log);
  const stateOf: StateOf = { of, store, keys, archive, bus: () => bus, standing, rules };
  const onAnswer = (name: Dependency, seconds: number) =>
    metrics.answerSeconds[name].observe(seconds);
  const dependencies = watchDependencies(stateOf, log, ending.signal, onAnswer);
  showBreakers(registry, "gavel_archival_", dependencies);
  const app = createInternalServer(
    { ready: () => (ending.signal.aborted ? notReady("stopping") : answersInTime(store)) },
    registry,
  );
  const working = new AbortController();
  let serving: Promise<void> = Promise.resolve();
  const endWork = async () => {
    working.abort();
    await serving;
    standing.phase = "removed";
  };
  const routed = { ...stateOf, ...dependencies, rules, endWork };
  const operatorTokenFile = env.OPERATOR_TOKEN_FILE ?? null;
  addRoutes(app, { ...routed, operatorTokenFile, metrics }, createVerifier(env), log);
  startConnecting(store, (error) => log.debug({ err: error }, "Redis is away"));
  const internalUrl = await app.listen({ host: env.HOST, port: env.INTERNAL_PORT });

  const gauges = setInterval(() => {
    readGauges(stateOf).then(
      (reading) => showReading(metrics, reading),
      () => {}, // Redis is away: the last figures stand, and readiness says why.
    );
  }, GAUGES_MS);
  void keepLooking(stateOf, createWellBeing(registry), ending.signal);
  serving = serve(
    {
      ...checked,
      definition,
      rules,
      timing,
      audited: new Audited(createAuditMetrics(registry), log),
      tracing: telemetry.tracing,
      relayed: new Relayed(),
      holder: `${hostname()}-${process.pid}-${randomUUID()}`,
    },
    standing,
    AbortSignal.any([ending.signal, working.signal]),
  );
  const watching = rules.watch(
    env.AUCTION_UID,
    AbortSignal.any([ending.signal, working.signal]),
    timing.rulesEveryMs,
  );
  // A bug in the loop ends the process; an outage never comes out of it.
  serving.catch((error: unknown) =>
    process.nextTick(() => {
      throw error;
    }),
  );

  return {
    internalUrl,
    async stop() {
      ending.abort();
      clearInterval(gauges);
      // The lease goes to another at once; who asks for history may take a while to notice.
      await Promise.all([serving, watching, pause(env.DRAIN_NOTICE_MS)]);
      await app.close();
      await archive.end();
      void connecting.then((connected) => connected.connection.close());
      store.disconnect();
      await telemetry.stop();
    },
  };
}

function notReady(why: string): Promise<{ ready: boolean; why: string }> {
  return Promise.resolve({ ready: false, why });
}

/** Its commands have a limit below a second. */
function answersInTime(store: Store): Promise<{ ready: boolean; why?: string }> {
  return store.ping().then(
    () => ({ ready: true }),
    () => ({ ready: false, why: "Redis does not answer" }),
  );
}
