import type { Registry } from "prom-client";
import { readStoreUrl as readUrl } from "../access/store-url.ts";
import { createVerifier } from "../access/tokens.ts";
import { type Bus, connectBus } from "../bus/connect.ts";
import { registerBreakerGauge } from "../runtime/breaker.ts";
import { createInternalServer, createRegistry } from "../runtime/internal.ts";
import { pause } from "../runtime/lifecycle.ts";
import { listen } from "../runtime/listen.ts";
import type { Logger } from "../runtime/log.ts";
import { startTelemetry } from "../runtime/telemetry.ts";
import { connectStore, startConnecting, type Store, whyNotConnected } from "../store/connect.ts";
import { keysOf } from "../store/keys.ts";
import { maxKeysBytesFor } from "../store/memory-budget.ts";
import { StoreUnavailable } from "../store/unreachable.ts";
import { addRoutes } from "./api/routes.ts";
import type { ArchivalEnv } from "./config.ts";
import { Rules } from "./definition/rules.ts";
import { readRulesFile } from "./definition/rules-file.ts";
import { createInvariantMetrics, InvariantMonitor } from "./invariants/invariant-monitor.ts";
import { type ArchivalMetrics, createMetrics } from "./metrics.ts";
import { HealthSummary } from "./observe/health-summary.ts";
import type { Observation, ObserverDependencies } from "./observe/observation.ts";
import { runObserver } from "./observe/observer.ts";
import { setOutboxGauges } from "./observe/outbox-gauges.ts";
import { createStoreGauges, setStoreGauges } from "./observe/store-gauges.ts";
import { probeStores } from "./observe/store-probes.ts";
import type { ProcessState } from "./pipeline/process-state.ts";
import { TIMING, type Timing } from "./pipeline/timing.ts";
import { connectArchive } from "./postgres/connection.ts";
import { Refusals } from "./refusals.ts";
import { supervise } from "./supervisor.ts";

export interface Archival {
  /** URL of the internal port; the tier has no other. */
  readonly internalUrl: string;
  /** Finishes the current batch and releases the lease. */
  stop(): Promise<void>;
}

/**
 * Starts the tier. It listens at once, and waits for stores that are away in the background.
 * @throws Error for an invalid rules file, secret or port
 */
export async function startArchival(
  env: ArchivalEnv,
  log: Logger,
  timing: Timing = TIMING,
): Promise<Archival> {
  const { AUCTION_UID: auctionUid } = env;
  const rulesFile = readRulesFile(env.RULES_FILE, auctionUid);
  const attributes = { "gavel.auction.uid": auctionUid };
  const telemetry = await startTelemetry(env, "gavel-archival", attributes, log);
  const stopping = new AbortController();
  const stores = connectStores(env, log, stopping.signal);

  const registry = createRegistry("archival");
  const metrics = createMetrics(registry);
  const state = newState();
  const onLost = () => {
    state.phase = "lost";
    metrics.storeLost.set(1);
  };
  const refusals = new Refusals(metrics.storeRefuses, log);
  const base = { ...stores, auctionUid, state, metrics, refusals, onLost, log };
  const rules = new Rules(env.RULES_FILE, rulesFile, base, log);
  const probed = { ...stores, refusals };
  const breakers = probeStores(probed, log, stopping.signal, (name, seconds) =>
    metrics.answerSeconds[name].observe(seconds),
  );
  registerBreakerGauge(registry, "gavel_archival_", breakers);

  const working = new AbortController();
  const workSignal = AbortSignal.any([stopping.signal, working.signal]);
  let supervised: Promise<void> = Promise.resolve();
  const healthSummary = new HealthSummary(base);
  const endWork = async () => {
    working.abort();
    await supervised;
    await healthSummary.written;
    state.phase = "removed";
  };
  const ready = readiness(stores.store, refusals, stopping.signal);
  const app = createInternalServer({ ready }, registry);
  const operatorTokenFile = env.OPERATOR_TOKEN_FILE ?? null;
  const routed = { ...base, rules, postgres: breakers.postgres, operatorTokenFile, endWork };
  addRoutes(app, routed, createVerifier(env), log);
  startConnecting(stores.store, (error) => log.debug({ err: error }, "Redis unavailable"));
  const internalUrl = await listen(app, env.HOST, env.INTERNAL_PORT);

  const observed = startObserver(base, registry, healthSummary, log, stopping.signal);
  const monitor = new InvariantMonitor(createInvariantMetrics(registry), log);
  const { tracing } = telemetry;
  supervised = supervise({ ...base, rules, timing, monitor, tracing }, workSignal);
  const watching = rules.watch(workSignal, timing.rulesEveryMs);
  for (const loop of [supervised, observed, watching]) endProcessOnDefect(loop);

  return {
    internalUrl,
    async stop() {
      stopping.abort();
      // The lease is released at once. Callers that need the history may notice later.
      await Promise.all([supervised, observed, watching, pause(env.DRAIN_NOTICE_MS)]);
      await app.close();
      await stores.close();
      await telemetry.stop();
    },
  };
}

/** Not ready only while a store refuses, which needs a person; archival waits by itself for a store that is away. */
const readiness = (store: Store, refusals: Refusals, stopping: AbortSignal) => () => {
  const why = stopping.aborted ? "stopping" : refusals.text;
  return why === null ? redisAnswers(store) : notReady(why);
};

function startObserver(
  dependencies: ObserverDependencies & { readonly metrics: ArchivalMetrics },
  registry: Registry,
  healthSummary: HealthSummary,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { archive, metrics, state } = dependencies;
  let shortage: string | null = null;
  const storeGauges = createStoreGauges(registry);
  const onObservation = async (observation: Observation): Promise<void> => {
    if (observation.store) setOutboxGauges(metrics, observation.store, state.progress);
    const { memoryShortage = null } = observation.store ?? {};
    if (memoryShortage !== null && memoryShortage !== shortage) {
      log.warn({ why: memoryShortage }, "redis may run out of memory before bids are refused");
    }
    shortage = memoryShortage ?? shortage;
    setStoreGauges(storeGauges, observation, archive, state.progress !== null);
    await healthSummary.write(observation);
  };
  return runObserver(dependencies, onObservation, signal);
}

function connectStores(env: ArchivalEnv, log: Logger, stopping: AbortSignal) {
  const readStoreUrl = () => readUrl("REDIS_URL_FILE", env.REDIS_URL_FILE);
  const store = connectStore(readStoreUrl, "archival");
  const archive = connectArchive(
    () => readUrl("POSTGRES_URL_FILE", env.POSTGRES_URL_FILE),
    (error) => log.warn({ err: error }, "idle Postgres connection lost"),
  );
  let bus: Bus | null = null;
  let busFailure: Error | null = null;
  const connecting = connectBus(() => readUrl("NATS_URL_FILE", env.NATS_URL_FILE), "archival", {
    onAttempt: (error) => (busFailure = error),
    signal: stopping,
  });
  void connecting.then((connected) => (bus = connected));
  const stopped = new Promise<never>((_, reject) => {
    stopping.addEventListener("abort", () => reject(new StoreUnavailable("stopping")), {
      once: true,
    });
  });
  stopped.catch(() => {}); // Nobody may be waiting.
  return {
    keys: keysOf(env.AUCTION_UID),
    maxBytes: env.OUTBOX_MAX_BYTES,
    limits: {
      maxPendingBytes: env.OUTBOX_MAX_BYTES,
      maxKeysBytes: maxKeysBytesFor(env.ACCEPTED_PER_SECOND),
    },
    replicas: env.NATS_STREAM_REPLICAS,
    readStoreUrl,
    store,
    archive,
    currentBus: () => bus,
    busFailure: () => busFailure,
    /** @throws when the process stops meanwhile */
    waitForBus: () => Promise.race([connecting, stopped]),
    async close() {
      await archive.end();
      void connecting.then((connected) => connected.connection.close());
      store.disconnect();
    },
  };
}

function newState(): ProcessState {
  return { phase: "starting", progress: null, lastFailure: null, writesSummary: false };
}

/** Outages do not reject the loops: what rejects is a defect. */
function endProcessOnDefect(loop: Promise<void>): void {
  loop.catch((error: unknown) =>
    process.nextTick(() => {
      throw error;
    }),
  );
}

function notReady(why: string): Promise<{ ready: boolean; why: string }> {
  return Promise.resolve({ ready: false, why });
}

/** The commands of the store have a limit below a second. */
function redisAnswers(store: Store): Promise<{ ready: boolean; why?: string }> {
  return store.ping().then(
    () => ({ ready: true }),
    () => ({ ready: false, why: `Redis does not answer${whyNotConnected(store)}` }),
  );
}
