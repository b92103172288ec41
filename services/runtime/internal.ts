/** The internal HTTP server of a process: health, metrics, and routes that a tier adds. */
import { fastify, type FastifyInstance } from "fastify";
import { Registry, collectDefaultMetrics } from "prom-client";

/** Gauges of prom-client whose names end in _total, which is reserved for counters. */
const MISNAMED = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

/** A registry with the metrics of every Node process: CPU, memory, event loop, garbage collection. */
export function createRegistry(tier: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ tier });
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  return registry;
}

export interface Health {
  /** Whether this process can do its work now. `why` is part of the response. */
  ready(): Promise<{ ready: boolean; why?: string }>;
  /** Whether the process should be kept. By default it should while its event loop turns. */
  alive?(): boolean;
}

/**
 * `/livez`: 200 or 503. `/readyz`: 200 or 503 with the reason. `/metrics`: Prometheus text.
 * The caller listens and closes.
 */
export function createInternalServer(health: Health, registry: Registry): FastifyInstance {
  const app = fastify({
    logger: false,
    requestTimeout: 5_000,
    connectionTimeout: 10_000,
    bodyLimit: 1024 * 1024,
    forceCloseConnections: true,
  });
  app.get("/livez", (_request, reply) => {
    const alive = health.alive?.() ?? true;
    return reply.code(alive ? 200 : 503).send({ status: alive ? "ok" : "stuck" });
  });
  app.get("/readyz", async (_request, reply) => {
    const { ready, why } = await health.ready();
    return reply.code(ready ? 200 : 503).send({ status: ready ? "ok" : "not ready", why });
  });
  app.get("/metrics", async (_request, reply) => {
    return reply.type(registry.contentType).send(await registry.metrics());
  });
  return app;
}
