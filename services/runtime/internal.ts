/** The port that only the cluster sees: health, metrics, and what a tier adds. */
import { fastify, type FastifyInstance } from "fastify";
import { Registry, collectDefaultMetrics } from "prom-client";

/** Gauges that prom-client gives names which only a counter may have; their parts by type stay. */
const MISNAMED = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

/** With what any process of Node tells: CPU, memory, event loop, garbage collection. */
export function createRegistry(tier: string): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ tier });
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  return registry;
}

export interface Health {
  /** Whether this process can do its work now. What is said in `why` goes to the one who asks. */
  ready(): Promise<{ ready: boolean; why?: string }>;
  /** Whether it is worth keeping. Without it: yes, as long as its event loop turns. */
  alive?(): boolean;
}

/**
 * `/livez`: the event loop turns. `/readyz`: 200 or 503 with the reason. `/metrics`: Prometheus text.
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
