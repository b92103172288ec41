import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { auctionDefinition, bid, defineAndOpen, lotDefinition } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { connectViewer, type Frame, type TestViewer } from "../testing/viewer.ts";
import { defineLots } from "../store/define-lots.ts";
import type { Keys } from "../store/keys.ts";
import { placeBids } from "../store/place-bids.ts";
import { startOne, tokenOf } from "../testing/broadcast.ts";
import { NO_DEADLINE, readLotEvents, refuseConnections, startStore } from "../testing/store.ts";
import { START } from "../lot/position.ts";

const { redis, store } = await startStore();

async function place(keys: Keys, amounts: number[], lotId = "lot-1"): Promise<void> {
  const bids = amounts.map((amountMinor) => bid(amountMinor));
  const { placements } = await placeBids(store, keys, lotId, bids, START, NO_DEADLINE);
  for (const { outcome } of placements) expect(outcome).toBe("accepted");
}

/** What happened to a lot, as a viewer is to see it. */
async function history(keys: Keys, lotId = "lot-1"): Promise<Frame[]> {
  return (await readLotEvents(store, keys, lotId)).map((event) => {
    const { key: _, ...shown } = event as Frame;
    return shown as Frame;
  });
}

/** Subscribes, and waits for the lot to be known: the process may have started a moment ago. */
async function watch(viewer: TestViewer, lotId = "lot-1"): Promise<Frame> {
  return until(`${lotId} is shown`, async () => {
    viewer.send({ type: "subscribe", lots: [lotId] });
    const answer = await viewer.next((frame) => frame.lotId === lotId);
    return answer.type === "snapshot" ? answer : null;
  });
}

const eventsOf = (viewer: TestViewer, lotId = "lot-1") =>
  viewer.frames.filter((f) => f.lotId === lotId && /^(bid_accepted|lot_)/.test(f.type));

test("a viewer gets the lot as it stands, then every event of it", async () => {
  const { definition, keys } = await defineAndOpen(store);
  await place(keys, [1_000]);
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  const beforeMs = Date.now();
  const snapshot = await watch(viewer);
  expect(snapshot).toMatchObject({
    type: "snapshot",
    lotId: "lot-1",
    status: "open",
    minimumMinor: 1_050,
    leadingBid: { amountMinor: 1_000 },
    epoch: 1,
    seq: 2,
  });
  expect(snapshot.serverTimeMs).toBeGreaterThan(beforeMs - 1_000);
  expect(snapshot.serverTimeMs).toBeLessThan(Date.now() + 1_000);
  expect(snapshot).not.toHaveProperty("recovered");

  await place(keys, [1_050, 1_100]);
  await place(keys, [1_200]);
  await viewer.next((frame) => frame.seq === 5);
  expect(eventsOf(viewer)).toEqual((await history(keys)).slice(2));
  viewer.close();
});

test("a socket watches many lots, each in its own order, and no more once it left", async () => {
  const lots = ["lot-1", "lot-2", "lot-3"].map((lotId) => lotDefinition(lotId));
  const { definition, keys } = await defineAndOpen(store, { lots });
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  await watch(viewer);
  viewer.send({ type: "subscribe", lots: ["lot-2", "lot-3"] });
  await viewer.next((f) => f.type === "snapshot" && f.lotId === "lot-3");

  await Promise.all(["lot-1", "lot-2", "lot-3"].map((lotId) => place(keys, [1_000, 1_050], lotId)));
  await until("all events came", () => eventsOf(viewer, "lot-3").length === 3);
  viewer.send({ type: "unsubscribe", lots: ["lot-2"] });
  await viewer.next("unsubscribed");
  await place(keys, [1_100], "lot-2");
  await place(keys, [1_100], "lot-1");
  await viewer.next((f) => f.lotId === "lot-1" && f.seq === 4);

  expect(eventsOf(viewer, "lot-1")).toEqual(await history(keys, "lot-1"));
  expect(eventsOf(viewer, "lot-2")).toEqual((await history(keys, "lot-2")).slice(0, 3));
  expect(eventsOf(viewer, "lot-3")).toEqual(await history(keys, "lot-3"));
  viewer.close();
});

test("an unknown lot is answered by its name, a lot defined later is found", async () => {
  const definition = auctionDefinition({ uid: randomUUID() });
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  viewer.send({ type: "subscribe", lots: ["lot-1"] });
  expect(await viewer.next("error")).toMatchObject({
    lotId: "lot-1",
    problem: { code: "unavailable" },
  });
  const { keys } = await defineAndOpen(store, definition);
  await watch(viewer);
  viewer.send({ type: "subscribe", lots: ["lot-9"] });
  expect(await viewer.next("error")).toMatchObject({
    lotId: "lot-9",
    problem: { code: "unknown_lot", status: 404 },
  });
  await place(keys, [1_000]);
  await viewer.next("bid_accepted");
  expect(eventsOf(viewer)).toEqual(await history(keys));
  viewer.close();
});

test("a changed schedule is shown as a snapshot, a dropped lot is told", async () => {
  const opensAtMs = Date.now() + 3_600_000;
  const lots = [lotDefinition("lot-1"), lotDefinition("lot-2")];
  const { definition, keys } = await defineAndOpen(store, { opensAtMs, lots });
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  await watch(viewer, "lot-1");
  await watch(viewer, "lot-2");
  const changed = { ...definition, opensAtMs: opensAtMs + 1_000, lots: lots.slice(0, 1) };
  expect(await defineLots(store, keys, changed, { maxPendingBytes: 1e9 })).toMatchObject({
    outcome: "defined",
  });
  await until("both are told", () => {
    const moved = viewer.frames.find((f) => f.opensAtMs === opensAtMs + 1_000);
    const gone = viewer.frames.find(({ problem }) => problem?.code === "unknown_lot");
    return moved?.type === "snapshot" && moved.lotId === "lot-1" && gone?.lotId === "lot-2";
  });
  viewer.close();
});

test("bids over the socket are decided as anywhere, each answered once by its key", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const [one, two] = await Promise.all([
    startOne(redis.url, definition.uid),
    startOne(redis.url, definition.uid),
  ]);
  const viewer = await connectViewer(one.url);
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "k0" });
  expect(await viewer.next("bid_result")).toMatchObject({
    key: "k0",
    lotId: "lot-1",
    accepted: false,
    problem: { code: "unauthenticated", status: 401 },
  });
  // A bid right behind the token waits for it.
  viewer.send({ type: "authenticate", token: await tokenOf("ada") });
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "k1" });
  expect(await viewer.next("authenticated")).toMatchObject({ bidderId: "ada" });
  const accepted = await viewer.next("bid_result");
  expect(accepted).toMatchObject({
    key: "k1",
    accepted: true,
    lotId: "lot-1",
    amountMinor: 1_000,
    minimumMinor: 1_050,
    epoch: 1,
    seq: 2,
  });
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "k2" });
  expect((await viewer.next("bid_result")).problem).toMatchObject({
    code: "too_low",
    minimumMinor: 1_050,
    seq: 2,
  });
  for (const [amountMinor, lotId, code] of [
    [5_000, "lot-9", "unknown_lot"],
    [1_500, "lot-1", "key_reused"],
    ["1500", "lot-1", "invalid"],
    [0, "lot-1", "invalid"],
    [1.5, "lot-1", "invalid"],
    [2 ** 53, "lot-1", "invalid"],
    [2 ** 53 - 1, "lot-1", "invalid"],
  ] as const) {
    const key = code === "key_reused" ? "k1" : randomUUID();
    viewer.send({ type: "place_bid", lotId, amountMinor, key });
    const result = await viewer.next("bid_result");
    expect(result).toMatchObject({ key, lotId, accepted: false, problem: { code } });
    if (code === "invalid") expect(result.problem.field).toBe("amountMinor");
  }

  // The same bid at another process: the first answer, bit for bit.
  const again = await connectViewer(two.url);
  again.send({ type: "authenticate", token: await tokenOf("ada") });
  again.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "k1" });
  expect(await again.next("bid_result")).toEqual(accepted);
  expect(await history(keys)).toHaveLength(2);
  viewer.close();
  again.close();
});

test("bids over the socket may be decided by the optimistic strategy", async () => {
  const { definition } = await defineAndOpen(store);
  const { url } = await startOne(redis.url, definition.uid, {
    BID_STRATEGY: "optimistic",
  });
  const viewer = await connectViewer(url);
  viewer.send({ type: "authenticate", token: await tokenOf("ada") });
  await until("its connections are there", async () => {
    viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "k" });
    return (await viewer.next("bid_result")).accepted;
  });
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_050, key: "k2" });
  expect(await viewer.next("bid_result")).toMatchObject({ accepted: true, seq: 3 });
  viewer.close();
});

test("a token that does not allow it, or is over, stops bids and not viewing", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  await watch(viewer);
  const bidWith = async (token: string) => {
    viewer.send({ type: "authenticate", token });
    const told = await viewer.next((f) => f.type === "authenticated" || f.type === "error");
    viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 900, key: randomUUID() });
    return { told, code: (await viewer.next("bid_result")).problem.code };
  };
  expect(await bidWith("garbage")).toMatchObject({
    told: { problem: { code: "unauthenticated" } },
    code: "unauthenticated",
  });
  expect(await bidWith(await tokenOf("ada", 600, "admin"))).toMatchObject({ code: "forbidden" });
  expect(await bidWith(await tokenOf("ada", 5))).toMatchObject({ code: "too_low" });
  await until("the token is over", async () => {
    viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 900, key: randomUUID() });
    return (await viewer.next("bid_result")).problem.code === "unauthenticated";
  });
  await place(keys, [1_000]);
  await viewer.next("bid_accepted");
  viewer.close();
});

test("three tabs of one bidder each get their own answers and all events", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const { url } = await startOne(redis.url, definition.uid);
  const token = await tokenOf("ada");
  const tabs = await Promise.all([1, 2, 3].map(() => connectViewer(url)));
  for (const tab of tabs) {
    tab.send({ type: "authenticate", token });
    await watch(tab);
  }
  for (const [i, tab] of tabs.entries()) {
    const key = `tab-${i}`;
    tab.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000 + 100 * i, key });
    expect(await tab.next("bid_result")).toMatchObject({ key, accepted: true });
  }
  tabs[0]!.close();
  await tabs[0]!.closed;
  await place(keys, [1_500]);
  for (const tab of tabs.slice(1)) {
    await until("all events came", () => eventsOf(tab).length === 5);
    expect(eventsOf(tab)).toEqual(await history(keys));
    expect(tab.frames.filter(({ type }) => type === "bid_result")).toHaveLength(1);
    tab.close();
  }
});

test("a broadcast whose feed has no connection is not ready, although bids have theirs", async () => {
  const { definition } = await defineAndOpen(store);
  const { internalUrl, stop } = await startOne(redis.url, definition.uid);
  const health = async () => (await fetch(`${internalUrl}/readyz`)).json() as Promise<Frame>;
  await until("it is ready", async () => (await health())["status"] === "ok");
  const admit = await refuseConnections(store, /name=gavel-broadcast-\w+-feed /);
  try {
    await until("it is not ready", async () =>
      String((await health())["why"]).includes("no connection to Redis for feed"),
    );
    const metrics = await (await fetch(`${internalUrl}/metrics`)).text();
    expect(metrics).toMatch(/gavel_broadcast_store_up{.*} 0\n/);
  } finally {
    await admit();
  }
  await until("it is ready again", async () => (await health())["status"] === "ok");
  await stop();
});
