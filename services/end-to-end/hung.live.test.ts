/**
 * Each dependency of each tier hangs: its connections stay open and say nothing, which no client notices by
 * itself. Bids are answered within a second all the same, what hangs is asked sparingly, and work goes on
 * soon after it answers again.
 */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { afterFile } from "../testing/after-file.ts";
import { AuctionUnderTest, IMPATIENT, metric, startServers } from "../testing/archival.ts";
import { defineAndOpen, openStore } from "../testing/auction.ts";
import * as broadcast from "../testing/broadcast.ts";
import { FaultProxy } from "../testing/fault-proxy.ts";
import { startTestGateway, tokenOf } from "../testing/gateway.ts";
import { withMargin } from "../testing/margin.ts";
import { readMetric } from "../testing/metrics.ts";
import { until } from "../testing/until.ts";
import { connectViewer } from "../testing/viewer.ts";

const servers = await startServers();
const store = await openStore(servers.redis.url);

async function proxyTo(url: string): Promise<{ proxy: FaultProxy; url: string }> {
  const proxy = new FaultProxy(url, Number(new URL(url).port));
  await proxy.listen();
  afterFile(() => proxy.close());
  const through = new URL(url);
  through.host = `127.0.0.1:${proxy.port}`;
  return { proxy, url: through.href };
}

const isReady = async (internalUrl: string) => (await fetch(`${internalUrl}/readyz`)).ok;

interface BidAnswer {
  /** How many bids were sent before this one. */
  readonly n: number;
  readonly status: number;
  readonly code: string | undefined;
  readonly atMs: number;
  readonly tookMs: number;
}

const BID_EVERY_MS = 5;

/** Places a bid every few ms until it is stopped, and keeps each answer with the time it took. */
function bidOn(bid: (n: number) => Promise<{ status: number; code: string | undefined }>) {
  const answers: BidAnswer[] = [];
  const pending = new Set<Promise<void>>();
  let n = 0;
  const timer = setInterval(() => {
    const atMs = performance.now();
    const number = n++;
    const one = bid(number).then(({ status, code }) => {
      answers.push({ n: number, status, code, atMs, tookMs: performance.now() - atMs });
    });
    pending.add(one);
    void one.finally(() => pending.delete(one));
  }, BID_EVERY_MS);
  const stop = async (): Promise<void> => {
    clearInterval(timer);
    await Promise.all(pending);
  };
  return { answers, stop };
}

const HANG_MS = 4_500;
/** A bid of the first moments has the rest of the hang for its answer, which is due within a second. */
const isAnsweredDuring = (hungAtMs: number, healedAtMs: number) => (answer: BidAnswer) =>
  answer.atMs < hungAtMs ||
  answer.atMs > hungAtMs + 500 ||
  answer.atMs + answer.tookMs < healedAtMs;

const hold = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test.for(["hang", "reset"] as const)(
  "two gateways whose Redis does: %s: answers within a second, few probes, and no herd after it",
  async (kind) => {
    const { proxy, url } = await proxyTo(servers.redis.url);
    const { definition } = await defineAndOpen(store);
    const gateways = [
      await startTestGateway(url, definition.uid),
      await startTestGateway(url, definition.uid),
    ];
    const state = (n: number) =>
      readMetric(gateways[n]!.internalUrl, "gavel_gateway_breaker_state");
    const token = await tokenOf("ada");
    const load = bidOn(async (n) => {
      const amountMinor = 2_000 + 200 * n;
      const { status, body } = await gateways[n % 2]!.bid("lot-1", amountMinor, { token });
      return { status, code: body["code"] };
    });
    await until("bids flow", () => load.answers.filter((a) => a.status === 201).length > 20);

    const before = { ...proxy.counters };
    const hungAtMs = performance.now();
    await proxy.inject({ kind });
    await hold(HANG_MS);
    const asked = {
      connections: proxy.counters.connections - before.connections,
      requests: proxy.counters.withheldRequests - before.withheldRequests,
    };
    expect(await state(0)).toBeGreaterThan(0);
    for (const { internalUrl } of gateways) expect(await isReady(internalUrl)).toBe(false);
    const healedAtMs = performance.now();
    const atHeal = proxy.counters.connections;
    await proxy.heal();
    for (const { internalUrl } of gateways) {
      await until("it is ready again", () => isReady(internalUrl));
    }
    const backMs = performance.now() - healedAtMs;
    const returned = proxy.counters.connections - atHeal;
    await until("bids flow", () => load.answers.at(-1)!.status === 201);
    await load.stop();

    const during = load.answers.filter(({ atMs }) => atMs > hungAtMs && atMs < healedAtMs);
    const slowest = Math.max(...load.answers.map(({ tookMs }) => tookMs));
    const codes = Object.groupBy(during, ({ code }) => code ?? "201");
    const counts = Object.fromEntries(Object.entries(codes).map(([c, all]) => [c, all!.length]));
    console.log(JSON.stringify({ kind, ...asked, returned, backMs, slowest, ...counts }));
    expect(slowest).toBeLessThan(withMargin(1_000));
    expect(load.answers.every(isAnsweredDuring(hungAtMs, healedAtMs))).toBe(true);
    const expected = ["201", "unknown", "unavailable"];
    expect(Object.keys(codes).filter((code) => !expected.includes(code))).toEqual([]);
    // Once a gateway's circuit is open, it refuses bids at once: only its probes wait.
    for (const gateway of [0, 1]) {
      const its = during.filter(({ n }) => n % 2 === gateway);
      const refused = its.filter(({ code }) => code === "unavailable");
      const openedAtMs = Math.min(...refused.map(({ atMs, tookMs }) => atMs + tookMs));
      const later = its.filter(({ atMs }) => atMs > openedAtMs);
      const laterRefused = later.filter(({ code }) => code === "unavailable");
      expect(laterRefused.length).toBeGreaterThan(later.length / 2);
    }
    await until("the circuit is closed", async () => (await state(0)) === 0);
    // Four connections, each with its own clock or probes.
    expect(asked.connections).toBeLessThan(80);
    expect(asked.requests).toBeLessThan(80);
    expect(returned).toBeLessThan(12);
    expect(backMs).toBeLessThan(withMargin(3_000));
  },
);

test("a gateway whose archival tier hangs: old bids are 503, at once after a few; bids go on", async () => {
  const silent = await proxyTo(servers.redis.url); // Nobody gets through to what is behind it.
  await silent.proxy.inject({ kind: "hang" });
  const { definition, keys } = await defineAndOpen(store);
  const gateway = await startTestGateway(servers.redis.url, definition.uid, {
    ARCHIVAL_URL: `http://127.0.0.1:${silent.proxy.port}`,
  });
  for (let i = 0; i < 5; i++) {
    const place = () => gateway.bid("lot-1", 2_000 + 200 * i, { key: `key-${i}` });
    await until("a bid is taken", async () => (await place()).status === 201);
  }
  await store.xtrim(keys.lot("lot-1").events, "MAXLEN", 2);
  const old = async () => {
    const fromMs = performance.now();
    const { body, status } = await gateway.get("/v1/lots/lot-1/bids?cursor=1.3");
    expect([status, body["code"]]).toEqual([503, "unavailable"]);
    return performance.now() - fromMs;
  };
  const first = await Promise.all(Array.from({ length: 8 }, old));
  expect(Math.max(...first)).toBeLessThan(withMargin(2_000));
  const requests = silent.proxy.counters.withheldRequests;
  const later = await Promise.all(Array.from({ length: 50 }, old));
  expect(later.toSorted((a, b) => a - b)[25]).toBeLessThan(withMargin(600));
  expect(silent.proxy.counters.withheldRequests - requests).toBeLessThan(5);
  expect((await gateway.bid("lot-1", 50_000)).status).toBe(201);
  expect(await isReady(gateway.internalUrl)).toBe(true);
});

test("a stream whose Redis hangs answers its bids within a second and keeps its viewers", async () => {
  const { proxy, url } = await proxyTo(servers.redis.url);
  const { definition } = await defineAndOpen(store);
  const { url: streamUrl, internalUrl } = await broadcast.startOne(url, definition.uid);
  const viewer = await connectViewer(streamUrl);
  const bidder = await connectViewer(streamUrl);
  bidder.send({ type: "authenticate", token: await broadcast.tokenOf("ada") });
  await bidder.next("authenticated");
  await until("the lot is known", async () => {
    viewer.send({ type: "subscribe", lots: ["lot-1"] });
    return (
      (await viewer.next((f) => f.type === "snapshot" || f.type === "error")).type === "snapshot"
    );
  });
  const load = bidOn(async (n) => {
    const key = `key-${n}`;
    bidder.send({ type: "place_bid", lotId: "lot-1", amountMinor: 2_000 + 200 * n, key });
    const answerOf = () => bidder.frames.findLast((frame) => frame["key"] === key);
    const answer = await until("an answer", answerOf);
    return { status: answer["accepted"] ? 201 : 503, code: answer["problem"]?.code };
  });
  await until("bids flow", () => load.answers.filter((a) => a.status === 201).length > 10);
  const hungAtMs = performance.now();
  await proxy.inject({ kind: "hang" });
  await hold(HANG_MS);
  expect(await isReady(internalUrl)).toBe(false);
  expect(await readMetric(internalUrl, "gavel_broadcast_breaker_state", "redis")).toBeGreaterThan(
    0,
  );
  const healedAtMs = performance.now();
  await proxy.heal();
  await until("it is ready again", () => isReady(internalUrl));
  await until("bids flow", () => load.answers.at(-1)!.status === 201);
  const backMs = performance.now() - healedAtMs;
  await load.stop();
  const slowest = Math.max(...load.answers.map(({ tookMs }) => tookMs));
  console.log(JSON.stringify({ tier: "broadcast", slowest, backMs }));
  expect(slowest).toBeLessThan(withMargin(1_000));
  expect(load.answers.every(isAnsweredDuring(hungAtMs, healedAtMs))).toBe(true);
  expect(load.answers.some(({ code }) => code === "unavailable")).toBe(true);
  expect(backMs).toBeLessThan(withMargin(3_500));

  // The sockets are the ones from before, and every event came, once and in order.
  const last = Number(await store.hget(`gavel:{${definition.uid}:0}:lot:lot-1`, "seq"));
  await until("the viewer has seen all", () => viewer.frames.at(-1)!["seq"] === last);
  const events = viewer.frames.filter(({ type }) => type !== "snapshot" && type !== "error");
  const seqs = events.map((frame) => frame["seq"]);
  expect(seqs).toEqual(Array.from({ length: last - seqs[0] + 1 }, (_, i) => seqs[0] + i));
});

test.for(["redis", "nats", "postgres"] as const)(
  "an archive whose %s hangs goes on soon after, with no more connections than before",
  async (hung) => {
    const auction = new AuctionUnderTest(servers);
    const { proxy, url } = await proxyTo(servers[hung].url);
    writeFileSync(auction.file(hung), url);
    const archival = await auction.start(IMPATIENT);
    await auction.open();
    await auction.bid(10);
    await auction.expectAllArchived();
    const connections = async () => {
      const list = String(await auction.store.client("LIST")).split("\n");
      const sql = "select count(*) from pg_stat_activity where application_name = 'gavel-archival'";
      const { rows } = await auction.archive.query<{ count: string }>(sql);
      const ours = list.filter((line) => line.includes(" name=archival"));
      return { redis: ours.length, postgres: Number(rows[0]!.count) };
    };
    const before = await connections();
    await proxy.inject({ kind: "hang" });
    await auction.bid(20);
    const state = () => metric(archival, "gavel_archival_breaker_state", hung);
    await until("it is known", async () => (await state()) > 0);
    await hold(1_000);
    expect((await fetch(`${archival.internalUrl}/readyz`)).ok).toBe(hung !== "redis");
    if (hung === "postgres") {
      const fromMs = performance.now();
      const history = await fetch(`${archival.internalUrl}/internal/v1/lots/lot-1/bids`);
      expect(history.status).toBe(503);
      expect(performance.now() - fromMs).toBeLessThan(withMargin(1_000));
    }
    const during = proxy.counters.connections;
    await proxy.heal();
    const healedAtMs = performance.now();
    await auction.expectAllArchived([], 15_000);
    const backMs = performance.now() - healedAtMs;
    await until("the breaker is closed", async () => (await state()) === 0);
    console.log(JSON.stringify({ tier: "archival", hung, backMs, connections: during }));
    expect(backMs).toBeLessThan(withMargin(5_000));
    await auction.bid(10);
    await auction.expectAllArchived();
    await until("there are no more connections", async () => {
      const { redis, postgres } = await connections();
      return redis <= before.redis && postgres <= before.postgres + 2;
    });
  },
);
