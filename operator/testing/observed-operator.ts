/** Serves an operator's /metrics without a cluster, with a real queue and a real watch. */
import { pino } from "pino";
import { createInternalServer, createRegistry } from "../../services/runtime/internal.ts";
import { afterFile } from "../../services/testing/after-file.ts";
import { connectCluster } from "../kube/client.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { createOperatorMetrics } from "../metrics.ts";
import { PHASES } from "../api/auction-status.ts";
import { Reflector } from "../kube/reflector.ts";
import { WorkQueue } from "../kube/work-queue.ts";
import { configMap, line, listOf, startFakeApiServer } from "./fake-api-server.ts";

const WORK_EVERY_MS = 100;

/** @returns host:port of its internal server */
export async function startObservedOperator(): Promise<string> {
  const log = pino({ level: "silent" });
  const registry = createRegistry("operator");
  const metrics = createOperatorMetrics(registry);
  const server = await startFakeApiServer();
  server.onCall(listOf("1", [configMap("a", "1")]));
  server.onWatch({ kind: "stream", chunks: [line("MODIFIED", configMap("a", "2"))], then: "end" });
  const cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile, metrics });
  const queue = new WorkQueue({
    name: "auction",
    workers: 1,
    log,
    metrics,
    handle: async (key) => {
      if (key === "fails") throw new Error("intended by the test");
    },
  });
  const reflector = new Reflector<AnyObject>({
    cluster,
    kind: KINDS.ConfigMap,
    indexLabels: [],
    log,
    metrics,
    emit: (key) => queue.add(key),
  });
  reflector.start();
  queue.start();
  // Metrics that only a leader with Auctions sets.
  metrics.isLeader.set({ name: "gavel-operator" }, 1);
  for (const phase of PHASES) metrics.auctionPhase.set({ phase }, 1);
  metrics.ssaConflicts.inc({ manager: "kubectl" }, 0);
  const working = setInterval(() => {
    queue.add("works");
    queue.add("fails");
    metrics.auctionDrainSeconds.observe(3);
  }, WORK_EVERY_MS);
  const app = createInternalServer({ ready: async () => ({ ready: true }) }, registry);
  const url = await app.listen({ host: "127.0.0.1", port: 0 });
  afterFile(async () => {
    clearInterval(working);
    await queue.stop(1_000);
    await reflector.stop();
    await cluster.close();
    await app.close();
  });
  return new URL(url).host;
}
