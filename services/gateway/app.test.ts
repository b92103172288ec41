import { expect, test } from "vitest";
import { PROBLEMS } from "../access/problems.ts";
import { Breaker } from "../runtime/breaker.ts";
import { createRegistry } from "../runtime/internal.ts";
import { createLog } from "../runtime/log.ts";
import { BidReporter } from "../access/bid-reporter.ts";
import { Batcher, BATCHER_DEFAULTS, scriptStrategy } from "../store/batcher.ts";
import { connectStore } from "../store/connect.ts";
import { keysOf } from "../store/keys.ts";
import { until } from "../testing/until.ts";
import { type AppOptions, createApp } from "./app.ts";
import { ARCHIVAL_BREAKER } from "./bid-history.ts";
import { createMetrics } from "./metrics.ts";

// Never connects: what is tested here never asks the store.
const store = connectStore("redis://127.0.0.1:1", "app-test");
store.on("error", () => {});
const keys = keysOf("app-test");
const registry = createRegistry("gateway");
const options: AppOptions = {
  store,
  keys,
  streamUrl: "ws://localhost:8081/v1/stream",
  archivalUrl: "http://localhost",
  archival: new Breaker(ARCHIVAL_BREAKER),
  log: createLog("app-test", "silent"),
  metrics: createMetrics(registry, {
    waitingBids: () => 0,
    connections: () => 0,
  }),
  batcher: new Batcher(scriptStrategy(store, keys), BATCHER_DEFAULTS),
  verify: async () => null,
  reporter: new BidReporter(null, createLog("app-test", "silent")),
  allowedOrigins: new Set(),
  eventLoopDelayMaxMs: 60_000, // a busy machine must not answer for the routes
};
const app = await createApp(options);
await app.ready();
const document = app.swagger() as unknown as {
  openapi: string;
  info: { description: string };
  paths: Record<string, Record<string, { responses: Record<string, object> }>>;
};

test("every route under /v1 is in the document, and nothing else is", () => {
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(documented.sort()).toEqual([
    "GET /v1/auction",
    "GET /v1/lots",
    "GET /v1/lots/{lotId}",
    "GET /v1/lots/{lotId}/bids",
    "POST /v1/lots/{lotId}/bids",
  ]);
});

test("every code of the catalogue is documented, with its status", () => {
  for (const [code, { status }] of Object.entries(PROBLEMS)) {
    expect(document.info.description).toContain(`\`${code}\` (${status})`);
  }
  const bid = document.paths["/v1/lots/{lotId}/bids"]!["post"]!.responses;
  const said = JSON.stringify(bid);
  const elsewhere = ["not_found", "method_not_allowed", "expectation_failed", "refused"];
  for (const code of Object.keys(PROBLEMS).filter((each) => !elsewhere.includes(each))) {
    expect(said).toContain(`\`${code}\``);
  }
  expect(Object.keys(bid)).toContain("201");
});

test("the document, its page and the auction's page are served with a strict policy", async () => {
  const json = await app.inject("/openapi.json");
  expect([json.statusCode, json.json().openapi]).toEqual([200, "3.1.0"]);
  const docs = await app.inject("/docs");
  expect(docs.statusCode).toBe(200);
  expect(docs.headers["content-security-policy"]).toContain("script-src");
  const page = await app.inject("/");
  expect(page.headers["content-type"]).toBe("text/html; charset=utf-8");
  const policy = page.headers["content-security-policy"];
  expect(policy).toContain("default-src 'none'; script-src 'self';");
  expect(policy).toContain("connect-src 'self' ws://localhost:8081;");
  for (const path of ["/app.js", "/style.css", "/card.js", "/gavel.svg"]) {
    expect([path, (await app.inject(path)).statusCode]).toEqual([path, 200]);
  }
  for (const path of ["/../config.ts", "/%2e%2e/config.ts", "/page/", "/.env"]) {
    const { statusCode } = await app.inject(path);
    expect([path, statusCode]).toEqual([path, expect.toBeOneOf([400, 403, 404])]);
  }
});

test("an event loop that falls behind refuses what comes next, and recovers", async () => {
  const limited = await createApp({ ...options, eventLoopDelayMaxMs: 300 });
  const block = (ms: number) => {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs);
  };
  const refused = await until("it is overloaded", async () => {
    block(1_500); // the mean delay of a sample that has some idle turns, too, must exceed the limit
    const answer = await limited.inject("/v1/auction");
    return answer.json().detail.includes("overloaded") ? answer : null;
  });
  expect((await limited.inject("/app.js")).statusCode).toBe(200);
  expect([refused.statusCode, refused.json().code]).toEqual([503, "unavailable"]);
  expect(refused.headers["retry-after"]).toMatch(/^[1-9]$/);
  await until(
    "it recovers",
    async () => (await limited.inject("/openapi.json")).statusCode === 200,
  );
});

test("a defect in a route is answered internal, and not as a store that cannot be reached", async () => {
  const broken = new Proxy(store, {
    get() {
      throw new TypeError("Cannot read properties of undefined");
    },
  });
  const defective = await createApp({ ...options, store: broken });
  const answer = await defective.inject("/v1/auction");
  expect([answer.statusCode, answer.json().code]).toEqual([500, "internal"]);
  expect(await registry.metrics()).toMatch(/gavel_gateway_internal_errors_total\S* 1\n/);

  const unreachable = await app.inject("/v1/auction");
  expect([unreachable.statusCode, unreachable.json().code]).toEqual([503, "unavailable"]);
});

test("CORS: named origins get their headers, nobody else does", async () => {
  const shared = await createApp({ ...options, allowedOrigins: new Set(["https://a.example"]) });
  const ask = (origin: string, method: "GET" | "OPTIONS", headers: object = {}) =>
    shared.inject({ url: "/v1/lots/lot-1/bids", method, headers: { origin, ...headers } });
  const preflight = { "access-control-request-method": "POST" };

  const allowed = await ask("https://a.example", "OPTIONS", preflight);
  expect(allowed.statusCode).toBe(204);
  expect(allowed.headers).toMatchObject({
    vary: "Origin",
    "access-control-allow-origin": "https://a.example",
    "access-control-expose-headers": "Retry-After",
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers":
      "Authorization, Content-Type, Idempotency-Key, traceparent, tracestate",
    "access-control-max-age": "600",
  });
  expect(allowed.headers).not.toHaveProperty("access-control-allow-credentials");
  const read = await ask("https://a.example", "GET");
  expect(read.headers["access-control-allow-origin"]).toBe("https://a.example");

  const plain = await ask("https://a.example", "OPTIONS");
  const foreign = await ask("https://b.example", "OPTIONS", preflight);
  expect([plain.statusCode, foreign.statusCode]).toEqual([405, 405]);
  expect(foreign.headers).not.toHaveProperty("access-control-allow-origin");
  expect(foreign.headers["vary"]).toBe("Origin");
});
