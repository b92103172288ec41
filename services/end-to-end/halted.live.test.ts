/** What bidders and viewers see of an auction that is suspended, fenced, or not well. */
import { randomUUID } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import type { Store } from "../store/connect.ts";
import { storeClockMs } from "../store/connect.ts";
import { type AuctionDefinition, defineLots } from "../store/define-lots.ts";
import { writeSummary } from "../store/health-summary.ts";
import { keysOf } from "../store/keys.ts";
import { fenceAuction } from "../store/lot-changes.ts";
import { readAuction } from "../store/lots.ts";
import { defineAndOpen, lotDefinition, MAX_PENDING_BYTES, openStore } from "../testing/auction.ts";
import { startOne, tokenOf } from "../testing/broadcast.ts";
import { startTestGateway } from "../testing/gateway.ts";
import { startRedis, type TestServer } from "../testing/servers.ts";
import { until } from "../testing/until.ts";
import { connectViewer } from "../testing/viewer.ts";

let redis: TestServer;
let store: Store;
beforeAll(async () => {
  redis = await startRedis();
  store = await openStore(redis.url);
});

const define = (definition: AuctionDefinition) =>
  defineLots(store, keysOf(definition.uid), definition, { maxPendingBytes: MAX_PENDING_BYTES });

test("over HTTP and the socket a suspended auction says so, goes on later, and ends with the fence", async () => {
  const { definition, keys } = await defineAndOpen(store, { lots: [lotDefinition("lot-1")] });
  const gateway = await startTestGateway(redis.url, definition.uid);
  const { url, internalUrl } = await startOne(redis.url, definition.uid);
  await until("broadcast is ready", async () => (await fetch(`${internalUrl}/readyz`)).ok);
  const viewer = await connectViewer(url);
  viewer.send({ type: "authenticate", token: await tokenOf("bob") });
  viewer.send({ type: "subscribe", lots: ["lot-1"] });
  expect(await viewer.next("snapshot")).toMatchObject({ suspended: false });
  const bidByViewer = async (amountMinor: number) => {
    const key = randomUUID();
    viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor, key });
    return viewer.next((frame) => frame.type === "bid_result" && frame["key"] === key);
  };
  expect((await gateway.bid("lot-1", 1_000)).status).toBe(201);
  const { closesAtMs } = (await gateway.get("/v1/lots/lot-1")).body;

  await define({ ...definition, suspended: true });
  const refused = await gateway.bid("lot-1", 5_000);
  expect([refused.status, refused.body["code"]]).toEqual([409, "suspended"]);
  expect(await bidByViewer(5_000)).toMatchObject({
    accepted: false,
    problem: { code: "suspended", status: 409 },
  });
  expect((await gateway.get("/v1/auction")).body).toMatchObject({ suspended: true });
  expect((await gateway.get("/v1/lots/lot-1")).body).toMatchObject({ suspended: true, closesAtMs });
  expect((await gateway.get("/v1/lots")).body["lots"]).toMatchObject([{ suspended: true }]);
  await viewer.next((frame) => frame.type === "snapshot" && frame["suspended"] === true);

  await define(definition);
  await viewer.next((frame) => frame.type === "snapshot" && frame["suspended"] === false);
  const shown = (await gateway.get("/v1/lots/lot-1")).body;
  expect(shown).toMatchObject({ suspended: false, extensions: 0 });
  expect(shown["closesAtMs"]).toBeGreaterThan(closesAtMs);
  const extended = viewer.frames.find(({ type }) => type === "lot_extended");
  expect(extended).toMatchObject({ closesAtMs: shown["closesAtMs"], extensions: 0 });
  expect(await bidByViewer(5_000)).toMatchObject({ accepted: true });

  await fenceAuction(store, keys, ["lot-1"]);
  const late = await gateway.bid("lot-1", 9_000);
  expect([late.status, late.body["code"]]).toEqual([409, "closed"]);
  expect(await bidByViewer(9_000)).toMatchObject({ problem: { code: "closed" } });
  viewer.close();
});

test("a gateway tells whether the auction is well by what the store has", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const gateway = await startTestGateway(redis.url, definition.uid);
  const ask = async (query = "") => {
    const answer = await fetch(`${gateway.internalUrl}/internal/v1/invariants${query}`);
    return [answer.status, ((await answer.json()) as { violations: string[] }).violations];
  };
  const archive = "?archive=current";
  expect(await ask()).toEqual([200, []]);
  expect(await ask(archive)).toEqual([503, ["archive_lag"]]);
  const summary = {
    atMs: await storeClockMs(store),
    archivedId: "0-0",
    lagMs: 200,
    violations: [],
  };
  await writeSummary(store, keys, summary);
  expect(await ask(archive)).toEqual([200, []]);
  await writeSummary(store, keys, { ...summary, lagMs: 60_000 });
  expect([await ask(), await ask(archive)]).toEqual([
    [200, []],
    [503, ["archive_lag"]],
  ]);
  await writeSummary(store, keys, { ...summary, violations: ["sequence", "missing"] });
  expect(await ask()).toEqual([503, ["sequence", "missing"]]);
  await writeSummary(store, keys, { ...summary, atMs: summary.atMs - 60_000 });
  expect(await ask(archive)).toEqual([503, ["archive_lag"]]);
  await store.hdel(keys.auction, "uid");
  expect(await ask()).toEqual([503, ["undefined"]]);
  expect(await readAuction(store, keys)).toBeNull();
  redis.signal("SIGSTOP");
  try {
    expect(await ask()).toEqual([503, ["store unreachable"]]);
  } finally {
    redis.signal("SIGCONT");
  }
});
