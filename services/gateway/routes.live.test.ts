import { createServer } from "node:http";
import { once } from "node:events";
import { expect, test } from "vitest";
import { storeClockMs } from "../store/connect.ts";
import { eventsBefore } from "../store/history.ts";
import { addressesOf, hostInUrl } from "../runtime/listen.ts";
import { defineAndOpen, lotDefinition, openStore, RULES } from "../testing/auction.ts";
import { startTestGateway } from "../testing/gateway.ts";
import { freePort } from "../../servers/ports.ts";
import { startRedis } from "../testing/servers.ts";
import { withMargin } from "../testing/margin.ts";
import { until } from "../testing/until.ts";

const redis = await startRedis();
const store = await openStore(redis.url);
const names = Array.from({ length: 7 }, (_, i) => `lot-${i + 1}`);
const { definition, keys } = await defineAndOpen(store, {
  title: "Spring sale",
  rules: { ...RULES, reserveDisclosure: "Public" },
  lots: names.map((lotId) =>
    lotDefinition(lotId, lotId === "lot-2" ? { withdrawn: true } : { reserveMinor: 3_000 }),
  ),
});
const streamUrl = "wss://stream.example.test/v1/stream";
const gateway = await startTestGateway(redis.url, definition.uid, {
  STREAM_URL: streamUrl,
  ARCHIVAL_URL: `http://127.0.0.1:${await freePort()}`,
  ALLOWED_ORIGINS: "https://Auction.Example.test:443, http://localhost:3000",
});

test("the auction is told with the store's time and where its stream is", async () => {
  const fromMs = await storeClockMs(store);
  const { status, body } = await gateway.get("/v1/auction");
  const { uid, name } = definition;
  expect(status).toBe(200);
  expect(body).toEqual({
    uid,
    name,
    title: "Spring sale",
    currency: "EUR",
    minorUnitDigits: 2,
    streamUrl,
    suspended: false,
    lotCount: 7,
    opensAtMs: expect.any(Number),
    serverTimeMs: expect.any(Number),
  });
  expect(body["serverTimeMs"]).toBeGreaterThanOrEqual(fromMs);
  expect(body["serverTimeMs"]).toBeLessThanOrEqual(await storeClockMs(store));
});

test("a lot shows all that viewers may see, and the rest of it nowhere", async () => {
  await gateway.bid("lot-1", 2_000);
  const { body } = await gateway.get("/v1/lots/lot-1");
  expect(body).toMatchObject({
    lotId: "lot-1",
    status: "open",
    minimumMinor: 2_200,
    bidCount: 1,
    seq: 2,
    epoch: 1,
    leadingBid: { amountMinor: 2_000, bidderId: "ada" },
    outcome: null,
    extensions: 0,
    reserveMet: false,
    reserveMinor: 3_000,
  });
  expect(JSON.stringify(body)).not.toContain("key");
});

async function walk(path: string, list: "lots" | "bids"): Promise<{ pages: number; all: any[] }> {
  const all = [];
  let cursor: string | null = null;
  let pages = 0;
  do {
    const { status, body } = await gateway.get(
      `${path}${cursor === null ? "" : `&cursor=${cursor}`}`,
    );
    expect(status).toBe(200);
    all.push(...body[list]);
    cursor = body["nextCursor"];
    pages++;
  } while (cursor !== null && pages < 50);
  return { pages, all };
}

test("lots come in the auction's order, page by page, and by status", async () => {
  await until(
    "the clock opened all",
    async () => (await gateway.get("/v1/lots?status=scheduled")).body["lots"].length === 0,
  );
  const ids = async (path: string) => {
    const { pages, all } = await walk(path, "lots");
    return { pages, ids: all.map(({ lotId }) => lotId) };
  };
  expect(await ids("/v1/lots?limit=200")).toEqual({ pages: 1, ids: names });
  expect(await ids("/v1/lots?limit=3")).toEqual({ pages: 3, ids: names });
  expect(await ids("/v1/lots?limit=7")).toEqual({ pages: 1, ids: names });
  const open = names.filter((lotId) => lotId !== "lot-2");
  expect((await ids("/v1/lots?limit=2&status=open")).ids).toEqual(open);
  expect((await ids("/v1/lots?limit=2&status=withdrawn")).ids).toEqual(["lot-2"]);
});

test("history is every accepted bid, newest first, however it is cut", async () => {
  expect((await gateway.get("/v1/lots/lot-4/bids")).body).toEqual({ bids: [], nextCursor: null });
  for (let i = 0; i < 25; i++) await gateway.bid("lot-3", 2_000 + 200 * i);
  const { events } = await eventsBefore(store, keys, "lot-3", null, 1_000);
  const expected = events.flatMap((event) => {
    if (event.type !== "bid_accepted") return [];
    const { bidId, bidderId, amountMinor, epoch, seq, atMs: placedAtMs } = event;
    return [{ bidId, bidderId, amountMinor, epoch, seq, placedAtMs }];
  });
  expect(expected).toHaveLength(25);
  for (const limit of [1, 7, 24, 25, 26, 200]) {
    const { all } = await walk(`/v1/lots/lot-3/bids?limit=${limit}`, "bids");
    expect(all).toEqual(expected);
  }
});

test("with the archive away, bids that only it has are 503 and all else goes on", async () => {
  for (let i = 0; i < 10; i++) await gateway.bid("lot-5", 2_000 + 200 * i);
  await store.xtrim(keys.lot("lot-5").events, "MAXLEN", 4);
  const { status, body } = await gateway.get("/v1/lots/lot-5/bids?limit=50");
  expect([status, body["bids"].length]).toEqual([200, 4]);
  const older = await gateway.get(`/v1/lots/lot-5/bids?cursor=${body["nextCursor"]}`);
  expect([older.status, older.body["code"]]).toEqual([503, "unavailable"]);
  expect(older.headers.get("retry-after")).toMatch(/^[1-9]$/);
  expect((await gateway.bid("lot-5", 50_000)).status).toBe(201);
});

test("a call to an archive that hangs times out after a second, and a defect of archival is reported as a defect", async () => {
  let status: number | null = null;
  const archival = createServer((_request, response) => {
    if (status !== null) response.writeHead(status).end("{}");
  }).listen(0, "127.0.0.1");
  await once(archival, "listening");
  const address = archival.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const its = await startTestGateway(redis.url, definition.uid, {
    ARCHIVAL_URL: `http://127.0.0.1:${address.port}`,
  });
  const { body } = await its.get("/v1/lots/lot-5/bids?limit=1");
  expect(body["bids"]).toHaveLength(1);
  const fromMs = performance.now();
  const older = await its.get("/v1/lots/lot-5/bids?cursor=1.2");
  expect(older.body["code"]).toBe("unavailable");
  expect(performance.now() - fromMs).toBeLessThan(withMargin(1_500));
  status = 503;
  const refused = await its.get("/v1/lots/lot-5/bids?cursor=1.2");
  expect([refused.status, refused.body["code"]]).toEqual([503, "unavailable"]);
  status = 500;
  const defect = await its.get("/v1/lots/lot-5/bids?cursor=1.2");
  expect([defect.status, defect.body["code"]]).toEqual([500, "internal"]);
  archival.closeAllConnections();
  archival.close();
});

test("pages of named origins may call us, others may not", async () => {
  const from = (origin: string, method = "GET") =>
    fetch(`${gateway.url}/v1/lots/lot-1/bids`, {
      method,
      headers: { origin, ...(method === "OPTIONS" && { "access-control-request-method": "POST" }) },
    });
  const allowed = await from("https://auction.example.test");
  expect(allowed.headers.get("access-control-allow-origin")).toBe("https://auction.example.test");
  expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
  const preflight = await from("http://localhost:3000", "OPTIONS");
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-headers")).toMatch(
    /Idempotency-Key, traceparent, tracestate/,
  );
  for (const origin of ["https://auction.example.test.evil.test", "null", "http://localhost"]) {
    const answer = await from(origin, "OPTIONS");
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([405, null]);
  }
});

test("by default a gateway listens on every address, and as localhost on both loopback addresses", async () => {
  for (const HOST of ["", "localhost"]) {
    const its = await startTestGateway(redis.url, definition.uid, { HOST });
    const { port } = new URL(its.url);
    for (const address of addressesOf("localhost").map(hostInUrl)) {
      const { status } = await fetch(`http://${address}:${port}/v1/auction`);
      expect([HOST, address, status]).toEqual([HOST, address, 200]);
    }
    await its.stop();
  }
});

test("a gateway that stops says so, answers what it has and then closes", async () => {
  const its = await startTestGateway(redis.url, definition.uid);
  await store.client("PAUSE", 400, "WRITE");
  const placing = its.bid("lot-6", 2_000);
  await until("the bid is under way", async () => {
    const text = await (await fetch(`${its.internalUrl}/metrics`)).text();
    return /gavel_gateway_bids_waiting\S* 0/.test(text);
  });
  const stopped = its.stop();
  const { status, body } = await (async () => {
    const answer = await fetch(`${its.internalUrl}/readyz`);
    return { status: answer.status, body: await answer.json() };
  })();
  expect([status, body]).toEqual([503, { status: "not ready", why: "draining" }]);
  expect((await placing).status).toBe(201);
  await stopped;
  await expect(fetch(its.url)).rejects.toThrow();
});
