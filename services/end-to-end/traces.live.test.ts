/** One bid, followed from its caller to its row: over HTTP and over a socket, through a real collector. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import * as incubating from "@opentelemetry/semantic-conventions/incubating";
import { Redis } from "ioredis";
import { Client } from "pg";
import { beforeAll, expect, test } from "vitest";
import { type BidTrace, type Caller, caller, expectBidTrace } from "../testing/bid-trace.ts";
import { COLLECTOR_TIMEOUT_MS, startCollector } from "../testing/otel-collector.ts";
import { startOtlpReceiver } from "../testing/otlp-receiver.ts";
import { type RunningAuction, startAuction } from "../testing/running-auction.ts";
import { until } from "../testing/until.ts";
import { connectViewer } from "../testing/viewer.ts";

const receiver = await startOtlpReceiver();
let endpoint = receiver.url;
let auction: RunningAuction;
let amountMinor = 1_000;

beforeAll(async () => {
  const collector = await startCollector(receiver.url);
  if (collector === null)
    process.stderr.write("no collector here: spans come straight to the test\n");
  endpoint = collector ?? receiver.url;
  auction = await startAuction(
    {},
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "200",
      // Only what asks to be traced is, and what is slow or failed.
      OTEL_TRACES_SAMPLER_ARG: "0",
      TRACE_SLOW_MS: "150",
    },
  );
  await until("a bid is taken", async () => (await bidOverHttp()).status === 201);
}, COLLECTOR_TIMEOUT_MS);

async function bidOverHttp(headers: Record<string, string> = {}, amount = (amountMinor += 500)) {
  const response = await fetch(`${auction.gatewayUrl}/v1/lots/lot-1/bids`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${await auction.token("ada")}`,
      "idempotency-key": randomBytes(8).toString("hex"),
      ...headers,
    },
    body: JSON.stringify({ amountMinor: amount }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, any> };
}

const ofTrace = (traceId: string) => receiver.spans.filter((span) => span.traceId === traceId);

async function expectTree(asks: Caller, edge: string, bidId: string): Promise<BidTrace> {
  const { uid } = auction;
  const tree = await expectBidTrace(receiver, asks, { edge, bidId, lotId: "lot-1", uid });
  const postgres = new Client(auction.postgresUrl);
  await postgres.connect();
  const { rows } = await postgres.query(
    "select events.outbox_id from bids join events using (auction_uid, lot_id, epoch, seq) where bid_id = $1",
    [bidId],
  );
  await postgres.end();
  expect(rows).toEqual([{ outbox_id: tree.outboxId }]);
  return tree;
}

test("a bid over HTTP is one trace from its caller to its row and to the viewers", async () => {
  const viewer = await connectViewer(auction.streamUrl);
  await until("broadcast knows the lot", () => {
    viewer.send({ type: "subscribe", lots: ["lot-1"] });
    return viewer.next("snapshot", 500);
  });
  const asks = caller();
  const { status, body } = await bidOverHttp({ traceparent: asks.traceparent });
  expect(status).toBe(201);
  const tree = await expectTree(asks, "POST /v1/lots/:lotId/bids", body["bidId"]);
  expect(tree.server.attributes).toMatchObject({
    "http.request.method": "POST",
    "http.route": "/v1/lots/:lotId/bids",
    "http.response.status_code": 201,
    "url.path": "/v1/lots/lot-1/bids",
  });
  expect(tree.call.attributes).toMatchObject({
    "db.system.name": "redis",
    "db.operation.name": "EVALSHA",
    "db.operation.batch.size": 1,
  });
  expect(tree.send.attributes["messaging.system"]).toBe("nats");
  expect(tree.insert.attributes["db.system.name"]).toBe("postgresql");
  expect(tree.deliver[0]!.attributes["gavel.viewers"]).toBe(1);
  const { outboxId: _, ...spans } = tree;
  const services = Object.values(spans)
    .flat()
    .map(({ resource }) => resource["service.name"]);
  expect(new Set(services)).toEqual(
    new Set(["gavel-gateway", "gavel-archival", "gavel-broadcast"]),
  );
  viewer.close();
});

test("a bid over a socket is one, too", async () => {
  const viewer = await connectViewer(auction.streamUrl);
  viewer.send({ type: "authenticate", token: await auction.token("bob") });
  const asks = caller();
  viewer.send({
    type: "place_bid",
    lotId: "lot-1",
    amountMinor: (amountMinor += 500),
    key: "socket-1",
    traceparent: asks.traceparent,
  });
  const answer = await viewer.next("bid_result");
  expect(answer["accepted"]).toBe(true);
  const { server } = await expectTree(asks, "place_bid", answer["bidId"]);
  expect(server.attributes["network.protocol.name"]).toBe("websocket");
  expect(server.resource["service.name"]).toBe("gavel-broadcast");
  viewer.close();
});

/** Requests in one packet: the gateway has them in one turn of its event loop, and so in one batch. */
async function bidTogether(callers: readonly Caller[]): Promise<void> {
  const token = await auction.token("carol");
  const { hostname, port } = new URL(auction.gatewayUrl);
  const requests = callers.map(({ traceparent }, n) => {
    const body = JSON.stringify({ amountMinor: (amountMinor += 500) });
    return (
      `POST /v1/lots/lot-1/bids HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
      `authorization: Bearer ${token}\r\nidempotency-key: together-${n}\r\n` +
      `traceparent: ${traceparent}\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    );
  });
  const sockets = requests.map(() => connect(Number(port), hostname));
  await Promise.all(sockets.map((s) => new Promise((done) => s.once("connect", done))));
  const answers = sockets.map((s) => new Promise((done) => s.once("data", done)));
  for (const [i, socket] of sockets.entries()) socket.write(requests[i]!);
  await Promise.all(answers);
  for (const socket of sockets) socket.destroy();
}

test("bids that share a call share its span, over links in both directions", async () => {
  const callers = Array.from({ length: 12 }, () => caller());
  const redis = new Redis(auction.redisUrl);
  // Nothing is decided for a moment, so that what comes meanwhile goes together.
  await redis.client("PAUSE", 100);
  redis.disconnect();
  await bidTogether(callers);
  const servers = await until("all their spans are there", () => {
    const found = callers.map(({ spanId }) =>
      receiver.spans.find((span) => span.parentSpanId === spanId),
    );
    return found.every((span) => span !== undefined) ? found : null;
  });
  const calls = await until("and those of their calls", () => {
    const parents = new Set(servers.map(({ spanId }) => spanId));
    const found = receiver.spans.filter(
      ({ name, parentSpanId }) => name === "EVALSHA place-bids" && parents.has(parentSpanId),
    );
    const served = found.reduce((sum, { links }) => sum + 1 + links.length, 0);
    return served === callers.length ? found : null;
  });
  expect(calls.some(({ links }) => links.length > 0)).toBe(true);
  for (const call of calls) {
    for (const { spanId } of call.links) {
      const server = servers.find((one) => one.spanId === spanId)!;
      expect(server.links).toContainEqual({ traceId: call.traceId, spanId: call.spanId });
    }
  }
});

test("a bid that nobody asked to trace leaves nothing, unless it is slow or fails", async () => {
  const before = receiver.spans.length;
  expect((await bidOverHttp()).status).toBe(201);
  const unasked = caller("00");
  expect((await bidOverHttp({ traceparent: unasked.traceparent })).status).toBe(201);
  expect((await bidOverHttp({ traceparent: "00-nonsense-00" })).status).toBe(201);
  expect((await bidOverHttp({}, 1)).status).toBe(409);

  const redis = new Redis(auction.redisUrl);
  await redis.client("PAUSE", 300);
  redis.disconnect();
  const slow = caller("00");
  expect((await bidOverHttp({ traceparent: slow.traceparent })).status).toBe(201);
  await until("the slow one has left its span", () => ofTrace(slow.traceId).length > 0);
  const [span] = ofTrace(slow.traceId);
  expect(span).toMatchObject({ parentSpanId: slow.spanId, kind: "server", failed: false });
  expect(span!.endMs - span!.startMs).toBeGreaterThan(150);
  expect(ofTrace(slow.traceId).length).toBe(1);

  await auction.parts.redis.kill();
  const failed = caller("00");
  expect((await bidOverHttp({ traceparent: failed.traceparent })).status).toBe(503);
  await until("the failed one has left its span", () => ofTrace(failed.traceId).length > 0);
  expect(ofTrace(failed.traceId)).toMatchObject([
    { failed: true, attributes: { "http.response.status_code": 503 } },
  ]);
  await auction.parts.redis.restart();

  expect(ofTrace(unasked.traceId)).toEqual([]);
  const edges = receiver.spans.slice(before).filter(({ kind }) => kind === "server");
  expect(edges.map(({ traceId }) => traceId)).toEqual([slow.traceId, failed.traceId]);
  expect(receiver.wrong).toEqual([]);
});

test("every name that is not ours is one of OpenTelemetry's", () => {
  const known = new Set<unknown>(Object.values(incubating));
  const used = receiver.spans.flatMap((s) => Object.keys({ ...s.attributes, ...s.resource }));
  const strange = [...new Set(used)].filter((name) => !name.startsWith("gavel."));
  expect(strange.length).toBeGreaterThan(10);
  expect(strange.filter((name) => !known.has(name))).toEqual([]);
});
