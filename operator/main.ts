import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { readEnv } from "../services/runtime/env.ts";
import { createInternalServer, createRegistry } from "../services/runtime/internal.ts";
import { runProcess } from "../services/runtime/lifecycle.ts";
import { listen } from "../services/runtime/listen.ts";
import { createLog } from "../services/runtime/log.ts";
import { AUCTION_KIND } from "./api/kind.ts";
import { archivalAt } from "./control/archival-client.ts";
import { connectCluster } from "./kube/client.ts";
import { OperatorEnv, readNamespaces, readSettings } from "./config.ts";
import { runAsLeader } from "./kube/leader-election.ts";
import { createOperatorMetrics } from "./metrics.ts";
import { AuctionController } from "./control/controller.ts";

const LEASE = "gavel-operator";
/** A watch without any data for this long, bookmarks included, makes the process unhealthy. */
const SILENT_MAX_MS = 5 * 60_000;

const env = readEnv(OperatorEnv);
const log = createLog("operator", env.LOG_LEVEL);
const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };

await runProcess(log, env.DRAIN_NOTICE_MS + env.DRAIN_MS, async (lifecycle) => {
  const registry = createRegistry("operator");
  const metrics = createOperatorMetrics(registry);
  const cluster = connectCluster({
    kubeconfigFile: env.KUBECONFIG,
    customKinds: [AUCTION_KIND],
    metrics,
    log,
  });
  const instance = env.POD_NAME;
  const controller = new AuctionController({
    cluster,
    settings: readSettings(env, version),
    instance,
    namespaces: readNamespaces(env.WATCH_NAMESPACES),
    workers: env.WORKERS,
    metrics,
    log,
    archivalFor: ({ metadata: { name, namespace } }, token) =>
      archivalAt(`http://${name}-archival-internal.${namespace}:9082`, token),
  });

  const isHealthy = () => controller.silentMs < SILENT_MAX_MS;
  const ready = async () => ({
    ready: controller.synced && isHealthy(),
    why: controller.synced ? "a watch receives no data" : "the caches are being filled",
  });
  const internal = createInternalServer({ ready, alive: isHealthy }, registry);
  lifecycle.onStop("internal server", () => internal.close());
  await listen(internal, env.HOST, env.INTERNAL_PORT);

  const stopping = new AbortController();
  controller.start();
  lifecycle.onStop("API client", () => cluster.close());
  lifecycle.onStop("watches", () => controller.stop());
  const leading = env.LEADER_ELECT
    ? runAsLeader(
        {
          cluster,
          namespace: env.POD_NAMESPACE,
          name: LEASE,
          identity: `${instance}_${randomUUID()}`,
          log,
          metrics,
        },
        (signal) => controller.work(signal),
        stopping.signal,
      )
    : controller.work(stopping.signal).then(() => "stopped" as const);
  lifecycle.onStop("leadership", async () => {
    stopping.abort();
    await leading;
  });
  leading.then(
    (reason) => {
      if (reason === "stopped") return;
      log.fatal("leadership lost: another process may lead already");
      process.exit(1);
    },
    (error: unknown) => {
      log.fatal({ err: error }, "controller failed");
      process.exit(1);
    },
  );
  log.info({ version, internalPort: env.INTERNAL_PORT }, "operator started");
});
