import { expect, test } from "vitest";
import { eventsSince } from "../store/history.ts";
import { defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { type Answer, startTestGateway, tokenOf } from "../testing/gateway.ts";
import { startRedis } from "../testing/servers.ts";
import { refuseConnections } from "../testing/store.ts";
import { withMargin } from "../testing/margin.ts";
import { until } from "../testing/until.ts";

const redis = await startRedis();
const store = await openStore(redis.url);
const lots = ["calm", "hung", "crashed", "cold"].map((lotId) => lotDefinition(lotId));
const { definition, keys } = await defineAndOpen(store, { lots });
const gateway = await startTestGateway(redis.url, definition.uid);

const timed = async (answer: Promise<Answer>) => {
  const from = performance.now();
  const { status, body, headers } = await answer;
  return { status, code: body["code"], headers, tookMs: performance.now() - from };
};
const ready = async () => (await fetch(`${gateway.internalUrl}/readyz`)).status;

test("a hung Redis costs every bid a 503 within a second, and a retry with the key tells", async () => {
  await until("the lot takes bids", async () => (await gateway.bid("hung", 1_000)).status === 201);
  const bids = Array.from({ length: 100 }, (_, i) => ({ amountMinor: 2_000 + 200 * i, i }));
  const tokens = await Promise.all(bids.map(({ i }) => tokenOf(`bidder-${i}`)));
  const place = ({ amountMinor, i }: (typeof bids)[number]) =>
    gateway.bid("hung", amountMinor, { key: `key-${i}`, token: tokens[i]! });
  // Opens the connections, so that what is timed below is the gateway's answer.
  await Promise.all(bids.map(({ i }) => gateway.bid("hung", 1, { token: tokens[i]! })));

  redis.signal("SIGSTOP");
  let answers;
  try {
    answers = await Promise.all(bids.map((bid) => timed(place(bid))));
    expect(await ready()).toBe(503);
  } finally {
    redis.signal("SIGCONT");
  }
  for (const { status, code, headers } of answers) {
    expect([status, code]).toEqual([503, expect.stringMatching(/^(unknown|unavailable)$/)]);
    expect(headers.get("retry-after")).toMatch(/^[1-9]$/);
  }
  expect(Math.max(...answers.map(({ tookMs }) => tookMs))).toBeLessThan(withMargin(1_000));

  await until("Redis is back", async () => (await ready()) === 200);
  const resolved = await Promise.all(bids.map(place));
  const again = await Promise.all(bids.map(place));
  const accepted = resolved.filter(({ status }) => status === 201);
  expect(accepted.length).toBeGreaterThan(0);
  for (const [i, { status, text }] of resolved.entries()) {
    expect([201, 409]).toContain(status);
    if (status === 201) expect(again[i]!.text).toBe(text);
  }
  const events = await eventsSince(store, keys, "hung", { epoch: 1, seq: 1 }, 2_000);
  const decided = events!.flatMap((event) => (event.type === "bid_accepted" ? [event] : []));
  expect(new Set(decided.map(({ bidderId }) => bidderId)).size).toBe(decided.length);
  expect(decided.length).toBe(accepted.length + 1);
});

test("a Redis that is gone costs bids a 503 at once, and what was acknowledged is there after it", async () => {
  const before = await until("the lot takes bids", async () => {
    const answer = await gateway.bid("crashed", 1_000, { key: "before" });
    return answer.status === 201 ? answer : null;
  });
  await redis.kill();
  const { status, code, headers, tookMs } = await timed(gateway.bid("crashed", 2_000));
  expect([status, code]).toEqual([503, expect.stringMatching(/^(unknown|unavailable)$/)]);
  expect(headers.get("retry-after")).toMatch(/^[1-9]$/);
  expect(tookMs).toBeLessThan(withMargin(1_000));
  const away = await until("the gateway knows", async () => {
    const answer = await timed(gateway.bid("crashed", 2_000));
    return answer.code === "unavailable" ? answer : null;
  });
  expect(away.tookMs).toBeLessThan(withMargin(1_000));
  for (const path of ["/v1/auction", "/v1/lots", "/v1/lots/calm", "/v1/lots/calm/bids"]) {
    const read = await timed(gateway.get(path));
    expect([path, read.status, read.code]).toEqual([path, 503, "unavailable"]);
    expect(read.tookMs).toBeLessThan(withMargin(1_000));
  }
  expect(await ready()).toBe(503);
  expect((await fetch(`${gateway.internalUrl}/livez`)).status).toBe(200);

  await redis.restart();
  await until("Redis is back", async () => (await ready()) === 200);
  const again = await gateway.bid("crashed", 1_000, { key: "before" });
  expect([again.status, again.text]).toEqual([201, before.text]);
  // Reads have a connection of their own, which may come back a moment later.
  const read = await until("lots are read", async () => {
    const answer = await gateway.get("/v1/lots/crashed");
    return answer.status === 200 ? answer : null;
  });
  expect(read.body["leadingBid"].amountMinor).toBe(1_000);
});

test("a gateway that starts before its Redis takes bids once that is there", async () => {
  await redis.kill();
  const starting = startTestGateway(redis.url, definition.uid);
  await redis.restart();
  const late = await starting; // waits for readiness
  const { status } = await late.bid("cold", 1_000);
  expect(status).toBe(201);
});

test.each([
  ["script", /name=gavel-gateway-bids /, "bids"],
  ["script", /name=gavel-gateway-reads /, "reads"],
  ["optimistic", /name=gavel-gateway-optimistic-5 /, "optimistic-5"],
])(
  "a gateway (%s) that lacks one of its connections is not ready, and says which",
  async (BID_STRATEGY, name, work) => {
    const one = await startTestGateway(redis.url, definition.uid, { BID_STRATEGY });
    const health = async () => (await fetch(`${one.internalUrl}/readyz`)).json();
    const up = async () => (await fetch(`${one.internalUrl}/metrics`)).text();
    expect(await up()).toMatch(/gavel_gateway_store_up{.*} 1\n/);
    const admit = await refuseConnections(store, name);
    try {
      await until("it is not ready", async () => {
        const { status, why } = (await health()) as { status: string; why?: string };
        return status !== "ok" && why?.includes(`no connection to Redis for ${work}`);
      });
      expect(await up()).toMatch(/gavel_gateway_store_up{.*} 0\n/);
    } finally {
      await admit();
    }
    await until("it is ready", async () => (await fetch(`${one.internalUrl}/readyz`)).ok);
    await one.stop();
  },
);
