import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Keys } from "../store/keys.ts";
import { type DecidedBatch, placeBids } from "../store/place-bids.ts";
import { bid, defineAndOpen, lotDefinition } from "../testing/auction.ts";
import { afterFile } from "../testing/after-file.ts";
import { FaultProxy } from "../testing/fault-proxy.ts";
import { until } from "../testing/until.ts";
import { connectViewer, type Frame } from "../testing/viewer.ts";
import type { Broadcast } from "./app.ts";
import { startOne } from "../testing/broadcast.ts";
import { readLotEvents, startStore } from "../testing/store.ts";

const { redis, store } = await startStore();

interface Place {
  epoch: number;
  seq: number;
}

/** Bids one after the other on a lot, each accepted: `count` of them, `atOnce` in one call. */
async function bidUp(keys: Keys, lotId: string, from: number, count: number, atOnce = 1) {
  const calls: Promise<DecidedBatch>[] = [];
  for (let done = 0; done < count; done += atOnce) {
    const n = Math.min(atOnce, count - done);
    const bids = Array.from({ length: n }, (_, i) => bid(1_000 + 200 * (from + done + i)));
    calls.push(placeBids(store, keys, lotId, bids, { epoch: 0, seq: 0 }, 2 ** 53 - 1));
  }
  for (const { placements } of await Promise.all(calls)) {
    for (const { outcome } of placements) expect(outcome).toBe("accepted");
  }
}

async function seqsInStore(keys: Keys, lotId: string): Promise<number[]> {
  return (await readLotEvents(store, keys, lotId)).map(({ seq }) => seq);
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
const isEvent = ({ type }: Frame) => /^(bid_accepted|lot_)/.test(type);

/** Until the process has the lot at `seq`: then what it answers is not about its lag. */
async function caughtUp({ url }: Broadcast, lotId: string, seq: number): Promise<void> {
  const viewer = await connectViewer(url);
  await until(`${lotId} is at ${seq}`, async () => {
    viewer.send({ type: "subscribe", lots: [lotId] });
    return (await viewer.next((f) => f.type === "snapshot" || f.type === "error")).seq >= seq;
  });
  viewer.close();
}

/** What one subscribe with `since` is answered, up to its snapshot. */
async function resume({ url }: Broadcast, lotId: string, since: Place) {
  const viewer = await connectViewer(url);
  viewer.send({ type: "subscribe", lots: [lotId], since: { [lotId]: since } });
  const snapshot = await viewer.next("snapshot");
  const events = viewer.frames.slice(0, viewer.frames.indexOf(snapshot));
  expect(events.every(isEvent)).toBe(true);
  viewer.close();
  return { seqs: events.map(({ seq }) => seq as number), snapshot };
}

test("a lot is resumed by the process that showed it, and by one that never did", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const one = await startOne(redis.url, definition.uid);
  await caughtUp(one, "lot-1", 0);
  await bidUp(keys, "lot-1", 0, 600, 3);
  await caughtUp(one, "lot-1", 601);
  const two = await startOne(redis.url, definition.uid);
  await caughtUp(two, "lot-1", 601);

  // Kept in the hub, at its edge, only in the store, and between the events of one entry.
  for (const seq of [601, 600, 400, 345, 344, 120, 0]) {
    for (const process of [one, two]) {
      const { seqs, snapshot } = await resume(process, "lot-1", { epoch: 1, seq });
      expect(seqs).toEqual(range(seq + 1, 601));
      expect(snapshot).toMatchObject({ recovered: true, seq: 601, bidCount: 600 });
    }
  }
});

test("a place that cannot be resumed from gives the lot as it stands, and says so", async () => {
  const lots = [lotDefinition("lot-1"), lotDefinition("lot-2")];
  const { definition, keys } = await defineAndOpen(store, { lots });
  await bidUp(keys, "lot-1", 0, 2_500, 1);
  await bidUp(keys, "lot-2", 0, 2_500, 5);
  await store.xtrim(keys.lot("lot-1").events, "MAXLEN", 1_000);
  const process = await startOne(redis.url, definition.uid);
  await caughtUp(process, "lot-1", 2_501);
  const places = [
    { epoch: 1, seq: 3 }, // trimmed
    { epoch: 1, seq: 700 }, // trimmed, though not too far back
    { epoch: 1, seq: 2_502 }, // not yet
    { epoch: 1, seq: 2 ** 60 },
    { epoch: 1, seq: -1 },
    { epoch: 2, seq: 1 },
    { epoch: 2 ** 60, seq: 2_501 },
    { epoch: 0, seq: 5 },
    { epoch: -1, seq: -1 },
  ];
  for (const answer of await Promise.all(places.map((at) => resume(process, "lot-1", at)))) {
    const { seqs, snapshot } = answer;
    expect(seqs).toEqual([]);
    expect(snapshot).toMatchObject({ recovered: false, seq: 2_501 });
  }
  // All of the other lot is kept in the store, but a socket is not flooded with it.
  expect((await resume(process, "lot-2", { epoch: 1, seq: 501 })).seqs).toEqual(range(502, 2_501));
  expect((await resume(process, "lot-2", { epoch: 1, seq: 500 })).seqs).toEqual([]);
});

test("a viewer that knows more than this process is no stranger: the hub is brought forward", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid);
  await caughtUp(process, "lot-1", 0);
  // Its feed is held up; the viewer comes from a process whose feed was not.
  await withFeedHeldUp(async () => {
    await bidUp(keys, "lot-1", 0, 10);
    const { seqs, snapshot } = await resume(process, "lot-1", { epoch: 1, seq: 9 });
    expect(seqs).toEqual([10, 11]);
    expect(snapshot).toMatchObject({ recovered: true, seq: 11 });
  });
});

test.concurrent.each([{ kind: "refuse" }, { kind: "hang" }, { kind: "mute" }] as const)(
  "a process whose store is away ($kind) shows nobody an older lot than it knows",
  async (toxic) => {
    const { definition, keys } = await defineAndOpen(store);
    const proxy = new FaultProxy("broadcast>redis", Number(new URL(redis.url).port));
    await proxy.listen();
    afterFile(() => proxy.close());
    const current = await startOne(redis.url, definition.uid);
    const lagging = await startOne(`redis://127.0.0.1:${proxy.port}`, definition.uid);
    await caughtUp(lagging, "lot-1", 0);
    await proxy.inject(toxic);
    await bidUp(keys, "lot-1", 0, 10);
    await caughtUp(current, "lot-1", 11);

    const since = { "lot-1": { epoch: 1, seq: 11 } };
    const viewer = await connectViewer(lagging.url);
    viewer.send({ type: "subscribe", lots: ["lot-1"], since });
    const refusal = await viewer.next((frame) => "lotId" in frame);
    expect(refusal).toMatchObject({ type: "error", problem: { code: "unavailable" } });
    // It is not watched: nothing comes of it until it is asked for again.
    viewer.send({ type: "subscribe", lots: ["lot-1"], since });
    await proxy.heal();
    const snapshot = await viewer.next((frame) => "lotId" in frame);
    expect(snapshot).toMatchObject({ type: "snapshot", recovered: true, seq: 11 });
    await bidUp(keys, "lot-1", 10, 1);
    await viewer.next(({ seq }) => seq === 12);
    expect(viewer.frames.filter(({ seq }) => seq < 11)).toEqual([]);
    viewer.close();
  },
);

const SUSPICIONS: [field: string, value: string][] = [
  ["confirmedServer", "another server"],
  ["ahead:lot-1", "1-9"],
];

test.concurrent.each(SUSPICIONS)(
  "a store that may have lost what a viewer saw is not believed (%s)",
  async (field, value) => {
    const { definition, keys } = await defineAndOpen(store);
    const process = await startOne(redis.url, definition.uid);
    await bidUp(keys, "lot-1", 0, 5);
    await caughtUp(process, "lot-1", 6);
    await store.hset(keys.auction, field, value);
    const viewer = await connectViewer(process.url);
    viewer.send({ type: "subscribe", lots: ["lot-1"], since: { "lot-1": { epoch: 1, seq: 9 } } });
    const refusal = await viewer.next((frame) => "lotId" in frame);
    expect(refusal).toMatchObject({ type: "error", problem: { code: "unavailable" } });
    viewer.close();
  },
);

test("a store is believed again after a restore has put back what a viewer saw", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid);
  await bidUp(keys, "lot-1", 0, 5);
  await caughtUp(process, "lot-1", 6);
  const viewer = await connectViewer(process.url);
  viewer.send({ type: "subscribe", lots: ["lot-1"], since: { "lot-1": { epoch: 1, seq: 9 } } });
  await store.hset(keys.auction, "ahead:lot-1", "1-9");
  await store.hset(keys.lot("lot-1").lot, { epoch: 2, seq: 9 });
  await store.hdel(keys.auction, "ahead:lot-1");
  const snapshot = await viewer.next((frame) => "lotId" in frame);
  expect(snapshot).toMatchObject({ type: "snapshot", recovered: false, epoch: 2, seq: 9 });
  viewer.close();
});

/** Kills the feeds' connections over and over. */
async function withFeedHeldUp(work: () => Promise<void>): Promise<void> {
  let over = false;
  const holding = (async () => {
    while (!over) {
      const list = (await store.call("CLIENT", "LIST")) as string;
      for (const line of list.split("\n").filter((one) => /gavel-broadcast-\w+-feed/.test(one))) {
        const [, id] = /^id=(\d+)/.exec(line)!;
        await store.call("CLIENT", "KILL", "ID", id!).catch(() => {});
      }
    }
  })();
  await work().finally(() => (over = true));
  await holding;
}

test("a raised epoch is told to who watches and to who comes back", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid);
  await caughtUp(process, "lot-1", 0);
  await bidUp(keys, "lot-1", 0, 5);
  const viewer = await connectViewer(process.url);
  viewer.send({ type: "subscribe", lots: ["lot-1"] });
  await until("it saw all", () => viewer.frames.some(({ seq }) => seq === 6));
  await store.hset(keys.lot("lot-1").lot, "epoch", "2"); // as a restore does
  await bidUp(keys, "lot-1", 5, 2, 2);
  const reset = await viewer.next((frame) => frame.epoch === 2);
  // The two bids before it have no message of their own: the snapshot shows them.
  expect(reset).toMatchObject({ type: "snapshot", recovered: false, seq: 8, bidCount: 7 });
  await bidUp(keys, "lot-1", 7, 1);
  await viewer.next((frame) => frame.seq === 9);
  const shown = viewer.frames.filter((frame) => frame.epoch === 2 && isEvent(frame));
  expect(shown.map(({ seq }) => seq)).toEqual([9]);
  const { snapshot } = await resume(process, "lot-1", { epoch: 1, seq: 6 });
  expect(snapshot).toMatchObject({ recovered: false, epoch: 2, seq: 9 });
  expect((await resume(process, "lot-1", { epoch: 2, seq: 8 })).seqs).toEqual([9]);
  viewer.close();
});

test("a trimmed outbox leaves no gap: it is filled from the lot's own stream", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid);
  await caughtUp(process, "lot-1", 0);
  const viewer = await connectViewer(process.url);
  viewer.send({ type: "subscribe", lots: ["lot-1"] });
  await viewer.next("snapshot");
  // While the feed is held up, all that it would read is trimmed but the last.
  await withFeedHeldUp(async () => {
    await bidUp(keys, "lot-1", 0, 300);
    await store.xtrim(keys.outbox, "MAXLEN", 1);
  });
  await viewer.next(({ seq }) => seq === 301);
  // And where nothing is left at all, comparing the lots with the store finds it.
  await withFeedHeldUp(async () => {
    await bidUp(keys, "lot-1", 300, 10);
    await store.xtrim(keys.outbox, "MAXLEN", 0);
  });
  await viewer.next(({ seq }) => seq === 311);
  await bidUp(keys, "lot-1", 310, 1);
  await viewer.next(({ seq }) => seq === 312);
  expect(viewer.frames.filter(isEvent).map(({ seq }) => seq)).toEqual(range(1, 312));
  viewer.close();
});

/** A small generator of our own (mulberry32), so that a seed names a run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/**
 * Watches lots until each has come to its last event, and leaves and comes back at random, now at one
 * process, now at another. Keeps what it saw as a viewer would: the events, in their order.
 */
async function wanderer(urls: string[], lotIds: string[], last: () => number, seed: number) {
  const roll = random(seed);
  const seen = new Map(lotIds.map((lotId) => [lotId, [] as number[]]));
  const at = new Map<string, Place>();
  const faults: string[] = [];
  const isDone = () => lotIds.every((lotId) => at.get(lotId)?.seq === last());
  let visits = 0;
  while (!isDone()) {
    visits++;
    const viewer = await connectViewer(urls[roll(urls.length)]!);
    const since = Object.fromEntries(at);
    viewer.send({ type: "subscribe", lots: lotIds, since });
    const leaveAfter = 5 + roll(200);
    let read = 0;
    await until("it leaves", () => {
      for (; read < viewer.frames.length && read < leaveAfter; read++) {
        const frame = viewer.frames[read]!;
        const events = seen.get(frame.lotId)!;
        if (isEvent(frame)) events.push(frame.seq);
        else if (frame.type !== "snapshot") faults.push(JSON.stringify(frame));
        else if (since[frame.lotId] && !frame.recovered) faults.push(JSON.stringify(frame));
        else if (!since[frame.lotId]) events.push(frame.seq);
        at.set(frame.lotId, { epoch: frame.epoch, seq: frame.seq });
      }
      return read >= leaveAfter || isDone();
    });
    viewer.close();
    await wait(roll(30));
  }
  return { seen, faults, visits };
}

test.for([1, 2, 3])(
  "whoever leaves and comes back anywhere, under bidding, sees every event once (seed %i)",
  async (seed) => {
    const lotIds = ["lot-1", "lot-2", "lot-3"];
    const lots = lotIds.map((lotId) => lotDefinition(lotId));
    const { definition, keys } = await defineAndOpen(store, { lots });
    const processes = await Promise.all([
      startOne(redis.url, definition.uid),
      startOne(redis.url, definition.uid),
    ]);
    for (const process of processes) await caughtUp(process, "lot-1", 0);

    const events = 600;
    let last = Infinity;
    const urls = processes.map(({ url }) => url);
    const watching = Array.from({ length: 6 }, (_, i) =>
      wanderer(urls, lotIds, () => last, seed * 100 + i),
    );
    const roll = random(seed);
    const bidding = lotIds.map(async (lotId) => {
      for (let done = 0; done < events;) {
        const n = Math.min(1 + roll(6), events - done);
        await bidUp(keys, lotId, done, n, n);
        done += n;
        await wait(roll(4));
      }
    });
    await Promise.all(bidding);
    last = events + 1;

    for (const { seen, faults, visits } of await Promise.all(watching)) {
      expect(faults).toEqual([]);
      expect(visits).toBeGreaterThan(3);
      for (const [, seqs] of seen) expect(seqs).toEqual(range(seqs[0]!, last));
    }
    expect((await seqsInStore(keys, "lot-1")).at(-1)).toBe(last);
  },
);
