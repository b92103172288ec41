/** What is seen of an auction on a real cluster: by a Prometheus in it, and by a real collector beside it. */
import { randomUUID } from "node:crypto";
import { beforeAll, expect, test, vi } from "vitest";
import type { AuctionResource } from "../operator/api/auction-resource.ts";
import type { KindCluster } from "../operator/kind/kind-cluster.ts";
import { loadImages, localImages } from "../operator/kind/kind-cluster.ts";
import {
  installPrometheus,
  PROMETHEUS_NAMESPACE,
  PROMETHEUS_PORT,
} from "../operator/kind/prometheus.ts";
import { runProgram } from "../servers/run-program.ts";
import { waitUntilReady } from "../operator/kind/sample-auction.ts";
import { bidderTokenOn } from "../operator/kind/summary.ts";
import { askArchive, forward, kindEnv, onKind, operatorOnKind } from "../operator/testing/kind.ts";
import { afterFile } from "../services/testing/after-file.ts";
import { caller, expectBidTrace } from "../services/testing/bid-trace.ts";
import { COLLECTOR_TIMEOUT_MS, startCollector } from "../services/testing/otel-collector.ts";
import { startOtlpReceiver } from "../services/testing/otlp-receiver.ts";
import { startTraffic } from "../services/testing/traffic.ts";
import { until } from "../services/testing/until.ts";
import { connectViewer } from "../services/testing/viewer.ts";
import { queryNow } from "./prometheus-api.ts";
import { type DashboardQuery, dashboardQueries, queriesWithoutValue } from "./dashboard-queries.ts";
import { FOREIGN } from "./known-metrics.ts";

const NAMESPACE = "gavel-seen";
const NAME = "fair";
const MINUTE_MS = 60_000;
const SCRAPED_EVERY_SECONDS = 2;

/** A lot closes every three seconds, so that the clock has something to do; the last ones after five minutes. */
const LOTS = Array.from({ length: 100 }, (_, n) => `lot-${n}`);
const BROADCASTS = 2;
const FAIR = `
apiVersion: gavel.dev/v1alpha1
kind: Auction
metadata: { name: ${NAME} }
spec:
  currency: EUR
  schedule: { lasts: 30s, lotStagger: 3s }
  rules: { antiSniping: { window: 0s, extension: 0s } }
  lots: [${LOTS.map((id) => `{ id: ${id}, startMinor: 100 }`).join(", ")}]
  tiers: { gateway: { replicas: 2 }, broadcast: { replicas: ${BROADCASTS} } }
  deletion: { dataPolicy: Delete, onTimeout: Release, drainTimeout: 1m }
`;
/** It has no Secret, and so never runs: to be deleted again. */
const NEVER_RUN = `
apiVersion: gavel.dev/v1alpha1
kind: Auction
metadata: { name: never-run }
spec:
  currency: EUR
  schedule: { lasts: 1h }
  lots: [{ id: a, startMinor: 100 }]
  backing: { redis: { mode: External, external: { secretRef: { name: nobody } } } }
`;

let cluster: KindCluster;
const kubectl = (...args: string[]) => cluster.kubectl(["-n", NAMESPACE, ...args]);
const apply = (input: string) => cluster.kubectl(["apply", "-n", NAMESPACE, "-f", "-"], { input });

/** Of this machine, as the cluster's pods reach it. */
async function addressForPods(): Promise<string> {
  const format = "{{range .IPAM.Config}}{{.Gateway}} {{end}}";
  const gateways = await runProgram("docker", ["network", "inspect", "kind", "--format", format]);
  return gateways.split(/\s+/).find((address) => /^[\d.]+$/.test(address))!;
}

vi.setConfig({ testTimeout: 5 * MINUTE_MS, hookTimeout: COLLECTOR_TIMEOUT_MS + 9 * MINUTE_MS });

onKind("seen on a real cluster", () => {
  let receiver: Awaited<ReturnType<typeof startOtlpReceiver>>;
  let fair: { gatewayUrl: string; streamUrl: string; token: (sub: string) => Promise<string> };
  let prometheus: string;

  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    const collector = await startCollector(receiver.url, await addressForPods());
    if (collector === null) throw new Error("the OpenTelemetry collector cannot be built here");
    const on = await operatorOnKind({ ...kindEnv, OTLP_ENDPOINT: collector });
    ({ cluster } = on);
    await loadImages(cluster.name, await localImages([kindEnv.PROMETHEUS_IMAGE]));
    await installPrometheus(
      cluster,
      { prometheus: kindEnv.PROMETHEUS_IMAGE, gavel: on.image },
      SCRAPED_EVERY_SECONDS,
    );
    await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
    await cluster.kubectl(["create", "namespace", NAMESPACE]);
    afterFile(async () => {
      const namespaces = [NAMESPACE, PROMETHEUS_NAMESPACE];
      await cluster.kubectl(["delete", "namespace", ...namespaces, "--wait=false"]);
    });
    await apply(FAIR);
    await waitUntilReady(cluster, NAME, NAMESPACE, () => {}, 4 * MINUTE_MS);
    // Ready is not yet open: a bid before that is answered 409.
    const open = ["--for=jsonpath={.status.phase}=Open", "--timeout=60s"];
    await kubectl("wait", ...open, `auction/${NAME}`);
    const port = (tier: string, of: number) =>
      forward(cluster, NAMESPACE, `service/${NAME}-${tier}`, of);
    const auction = JSON.parse(
      await kubectl("get", "auction", NAME, "-o", "json"),
    ) as AuctionResource;
    fair = {
      gatewayUrl: `http://127.0.0.1:${await port("gateway", 8080)}`,
      streamUrl: `ws://127.0.0.1:${await port("broadcast", 8081)}/v1/stream`,
      token: (sub) => bidderTokenOn(cluster, auction, NAMESPACE, sub),
    };
    prometheus = `http://127.0.0.1:${await forward(cluster, PROMETHEUS_NAMESPACE, "service/prometheus", PROMETHEUS_PORT)}`;
  });

  test("one bid is one trace, from its caller to its row and to its viewer", async () => {
    const lotId = LOTS.at(-1)!;
    const viewer = await connectViewer(fair.streamUrl);
    viewer.send({ type: "subscribe", lots: [lotId] });
    await viewer.next("snapshot");
    const asks = caller();
    const answer = await fetch(`${fair.gatewayUrl}/v1/lots/${lotId}/bids`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${await fair.token("ada")}`,
        "idempotency-key": randomUUID(),
        traceparent: asks.traceparent,
      },
      body: JSON.stringify({ amountMinor: 200 }),
    });
    const { bidId } = (await answer.json()) as { bidId: string };
    expect(answer.status).toBe(201);
    expect(await viewer.next("bid_accepted")).toMatchObject({ bidId });
    viewer.close();
    const uid = await kubectl("get", "auction", NAME, "-o", "jsonpath={.metadata.uid}");
    const edge = "POST /v1/lots/:lotId/bids";
    const named = { edge, bidId, lotId, uid };
    const { outboxId, ...spans } = await expectBidTrace(receiver, asks, named, BROADCASTS);
    const watched = spans.deliver.map(({ attributes }) => attributes["gavel.viewers"]);
    expect(watched.sort()).toEqual([0, 1]);
    const row = await askArchive(
      cluster,
      NAMESPACE,
      NAME,
      `select bid_id, outbox_id from bids join events using (auction_uid, lot_id, epoch, seq) where bid_id = '${bidId}'`,
    );
    expect(row).toBe(`${bidId}|${outboxId}`);
    expect(receiver.wrong).toEqual([]);
    const zero = spans.server.startMs;
    const lines = Object.values(spans)
      .flat()
      .map(
        ({ name, spanId, parentSpanId, startMs, endMs, resource }) =>
          `  ${parentSpanId} > ${spanId}  ${(startMs - zero).toFixed(1).padStart(7)} to ${(endMs - zero).toFixed(1).padStart(7)} ms  ${String(resource["service.name"])}  ${name}`,
      );
    console.log(
      [
        `trace ${asks.traceId}, asked for by span ${asks.spanId}; bid ${bidId}, outbox ${outboxId}`,
        ...lines,
        `  row in Postgres: ${row}`,
      ].join("\n"),
    );
  });

  test("every panel has data from a Prometheus in the cluster while the sale runs", async () => {
    const traffic = startTraffic(
      fair,
      LOTS.slice(-20),
      Array.from({ length: 20 }, (_, n) => `bidder-${n}`),
    );
    afterFile(() => traffic.stop());
    await apply(NEVER_RUN);
    await until("its missing Secret is reported", async () =>
      (await kubectl("get", "auction", "never-run", "-o", "json")).includes("SecretNotFound"),
    );
    await kubectl("delete", "auction", "never-run", "--timeout=60s");

    const isOurs = ({ expression }: DashboardQuery) =>
      !FOREIGN.some((name) => expression.includes(name));
    const all = dashboardQueries(NAME).filter(isOurs);
    let left = all;
    const ask = (expression: string) => queryNow(prometheus, expression);
    const isFull = async () => (left = await queriesWithoutValue(ask, left)).length === 0;
    await until("every query has had a value", isFull, 2 * MINUTE_MS).catch(() => {});
    expect(left).toEqual([]);
    const up = await ask("sum by (job) (up)");
    expect(Object.fromEntries(up.map(({ metric, value }) => [metric["job"], value]))).toEqual({
      "gavel-tiers": 5,
      "gavel-operator": 2,
      "chaos-mesh": 1,
    });
    console.log(`${all.length} queries of all dashboards have had a value`);
  });
});
