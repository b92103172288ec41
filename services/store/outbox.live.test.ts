import { expect, test } from "vitest";
import { decodeEvents, type LotEvent } from "../lot/events.ts";
import { START } from "../lot/position.ts";
import { bid, defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { scriptStrategy } from "./batcher.ts";
import { deleteAuction } from "./delete-auction.ts";
import { eventsBefore, eventsSince } from "./history.ts";
import { type Keys, LOT_STREAM_BYTES } from "./keys.ts";
import { holdLease, releaseLease } from "./lease.ts";
import { advanceDueLots, fenceAuction } from "./lot-changes.ts";
import { readAuction } from "./lots.ts";
import { optimisticStrategy } from "./optimistic.ts";
import { compareIds, outboxTail, readOutbox, trimOutbox } from "./outbox.ts";
import { placeBids } from "./place-bids.ts";
import { confirmServer, readRunId } from "./server-identity.ts";
import {
  defineAuction,
  NO_DEADLINE,
  openConnections,
  readAllLots,
  startStore,
} from "../testing/store.ts";

const { redis, store } = await startStore();

let amountMinor = 1_000;

/** Batches of these sizes on one lot; the first event of the first is its opening. */
async function placeBatches(keys: Keys, sizes: number[], lotId = "lot-1"): Promise<void> {
  for (const size of sizes) {
    const bids = Array.from({ length: size }, () => bid((amountMinor += 500)));
    await placeBids(store, keys, lotId, bids, { epoch: 0, seq: 0 }, Number.MAX_SAFE_INTEGER);
  }
}
async function streamBytes(key: string): Promise<number> {
  const entries = await store.xrange(key, "-", "+");
  return entries.reduce((sum, [, fields]) => sum + Buffer.byteLength(fields[1]!), 0);
}

const seqs = (events: LotEvent[] | null) => events?.map(({ seq }) => seq);

test("the outbox is read in order from any id, and waits for what comes", async () => {
  const { keys } = await defineAndOpen(store, { lots: [lotDefinition("a"), lotDefinition("b")] });
  expect(await outboxTail(store, keys)).toBe("0-0");
  expect(await readOutbox(store, keys, "0-0", { count: 10, blockMs: 1 })).toEqual([]);
  await placeBatches(keys, [2, 1], "a");
  await placeBatches(keys, [1], "b");
  const entries = await readOutbox(store, keys, "0-0", { count: 10, blockMs: 1 });
  expect(entries.map(({ lotId, events }) => [lotId, seqs(decodeEvents(events))])).toEqual([
    ["a", [1, 2, 3]],
    ["a", [4]],
    ["b", [1, 2]],
  ]);
  const [first, second, third] = entries;
  expect(await outboxTail(store, keys)).toBe(third!.id);
  expect(await readOutbox(store, keys, first!.id, { count: 1, blockMs: 1 })).toEqual([second]);

  const reader = store.duplicate();
  await reader.connect();
  const waiting = readOutbox(reader, keys, third!.id, { count: 10, blockMs: 5_000 });
  await placeBatches(keys, [1], "b");
  expect(await waiting).toMatchObject([{ lotId: "b" }]);
  reader.disconnect();
});

test("pending bytes are those of the events above the watermark, wherever it moves", async () => {
  const { keys } = await defineAndOpen(store);
  await placeBatches(keys, [3, 1, 2]);
  const entries = await readOutbox(store, keys, "0-0", { count: 10, blockMs: 1 });
  const sizes = entries.map(({ events }) => Buffer.byteLength(events));
  const pending = async () => (await readAuction(store, keys))!.pendingBytes;
  const [one, two, three] = sizes as [number, number, number];
  expect(await pending()).toBe(one + two + three);
  expect(await trimOutbox(store, keys, entries[1]!.id, "0-0")).toBe(three);
  expect(await trimOutbox(store, keys, entries[0]!.id, "0-0")).toBe(two + three);
  expect(await trimOutbox(store, keys, entries[2]!.id, entries[1]!.id)).toBe(0);
  expect(await pending()).toBe(0);
  expect(await readOutbox(store, keys, "0-0", { count: 10, blockMs: 1 })).toEqual(entries.slice(1));
  expect(await readAuction(store, keys)).toMatchObject({
    archivedId: entries[2]!.id,
    trimmedId: entries[1]!.id,
  });
  await expect(trimOutbox(store, keys, entries[1]!.id, entries[2]!.id)).rejects.toThrow("archived");
});

test("while Redis is out of memory, the relay trims, lots end, and an auction is deleted", async () => {
  const lots = ["due", "later", "scheduled"].map((lotId) => lotDefinition(lotId));
  const { keys, definition } = await defineAndOpen(store, { lots });
  const other = await defineAndOpen(store);
  await placeBatches(keys, [1, 1], "due");
  await placeBatches(keys, [1], "later");
  const server = await readRunId(store);
  const entries = await readOutbox(store, keys, "0-0", { count: 10, blockMs: 1 });
  const tail = entries.at(-1)!.id;
  await store.hset(keys.lot("due").lot, "closesAtMs", 1);
  await store.zadd(keys.due, 1, "due");
  await store.config("SET", "maxmemory", 1);
  try {
    await expect(placeBatches(keys, [1], "later")).rejects.toThrow("OOM");
    expect(await holdLease(store, keys, "relay", "a", 10_000)).toBe(true);
    expect(await holdLease(store, keys, "relay", "a", 10_000)).toBe(true);
    expect(await holdLease(store, keys, "relay", "b", 10_000)).toBe(false);
    expect(await trimOutbox(store, keys, tail, tail)).toBe(0);
    expect(await store.xlen(keys.outbox)).toBe(1);
    expect(await readAuction(store, keys)).toMatchObject({ archivedId: tail, trimmedId: tail });
    await releaseLease(store, keys, "relay", "a");
    expect(await holdLease(store, keys, "relay", "b", 10_000)).toBe(true);

    expect(await confirmServer(store, keys, server)).toBe(true);
    expect(await advanceDueLots(store, keys)).toMatchObject({
      opened: ["scheduled"],
      closed: ["due"],
    });
    const withdrawn = { ...lotDefinition("later"), withdrawn: true };
    const fewer = { ...definition, lots: [lots[0]!, withdrawn, lots[2]!] };
    expect(await defineAuction(store, fewer)).toEqual({ outcome: "defined" });
    const lotIds = lots.map(({ lotId }) => lotId);
    expect(await fenceAuction(store, keys, lotIds)).not.toBeNull();
    expect((await readAllLots(store, keys)).map(({ status }) => status)).toEqual([
      "closed",
      "withdrawn",
      "open",
    ]);
    await deleteAuction(store, other.keys, ["lot-1"]);
    expect(await store.exists(other.keys.auction)).toBe(0);
  } finally {
    await store.config("SET", "maxmemory", 0);
  }
});

test("stream ids are ordered by their numbers, not as text", () => {
  expect(compareIds("9-0", "10-0")).toBeLessThan(0);
  expect(compareIds("10-9", "10-10")).toBeLessThan(0);
  expect(compareIds("10-1", "10-1")).toBe(0);
});

test("a lot's missed events are found from any of its events on, also inside a batch", async () => {
  const { keys } = await defineAndOpen(store);
  await placeBatches(keys, [3, 1, 2]); // seq 1–4, 5, 6–7
  const since = async (seq: number, epoch = 1) =>
    seqs(await eventsSince(store, keys, "lot-1", { epoch, seq }, 100));
  expect(await since(0)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(await since(2)).toEqual([3, 4, 5, 6, 7]);
  expect(await since(4)).toEqual([5, 6, 7]);
  expect(await since(7)).toEqual([]);
  expect(await since(8)).toBeUndefined();
  expect(await since(1, 2)).toBeUndefined();
  await store.xtrim(keys.lot("lot-1").events, "MAXLEN", 2);
  expect(await since(4)).toEqual([5, 6, 7]);
  expect(await since(3)).toBeUndefined();
});

test("a lot's stream is bounded by bytes, and a viewer whose place is gone gets a snapshot", async () => {
  const strategies = [
    (keys: Keys) => scriptStrategy(store, keys),
    (keys: Keys) => optimisticStrategy(openConnections(redis.url), keys),
  ];
  for (const strategyOf of strategies) {
    const { keys } = await defineAndOpen(store);
    const strategy = strategyOf(keys);
    await until("it is connected", () => strategy.nowMs());
    const { events } = keys.lot("lot-1");
    let amountMinor = 1_000;
    let highest = 0;
    for (let calls = 0; calls < 80; calls++) {
      const bids = Array.from({ length: 130 }, () => bid((amountMinor += 200)));
      const { placements } = await strategy.decide("lot-1", bids, START, NO_DEADLINE);
      expect(placements.at(-1)).toMatchObject({ outcome: "accepted" });
      highest = Math.max(highest, await streamBytes(events));
    }
    const entries = await store.xrange(events, "-", "+");
    const entryBytes = Buffer.byteLength(entries[0]![1][1]!);
    expect(80 * entryBytes).toBeGreaterThan(2 * LOT_STREAM_BYTES);
    expect(highest).toBeLessThanOrEqual(LOT_STREAM_BYTES + entryBytes);
    expect(await streamBytes(events)).toBeGreaterThan(LOT_STREAM_BYTES / 2 - entryBytes);
    const oldest = decodeEvents(entries[0]![1][1]!)[0]!;
    const since = (seq: number) => eventsSince(store, keys, "lot-1", { epoch: 1, seq }, 5_000);
    expect(await since(oldest.seq - 2)).toBeNull();
    expect((await since(oldest.seq - 1))!.at(-1)).toMatchObject({ seq: 80 * 130 + 1 });
  }
});

test("a lot's stream that an earlier version left is cut to the bound", async () => {
  const { keys } = await defineAndOpen(store);
  const { lot, events } = keys.lot("lot-1");
  let amount = 1_000;
  const place = async (calls: number, onCall: () => Promise<unknown>): Promise<void> => {
    for (let n = 0; n < calls; n++) {
      const bids = Array.from({ length: 200 }, () => bid((amount += 200)));
      await placeBids(store, keys, "lot-1", bids, START, NO_DEADLINE);
      await onCall();
    }
  };
  // As the version before left it: without the fields, so that nothing is dropped.
  await place(48, () => store.hdel(lot, "streamFrom", "streamBytes"));
  expect(await streamBytes(events)).toBeGreaterThan(2 * LOT_STREAM_BYTES);
  await place(12, () => Promise.resolve());
  expect(await streamBytes(events)).toBeLessThanOrEqual(LOT_STREAM_BYTES);
});

test("a lot's history is read newest first, page by page, and says when older events are gone", async () => {
  const { keys } = await defineAndOpen(store);
  await placeBatches(keys, [3, 1, 2]);
  const before = async (seq: number | null, entries = 100) => {
    const from = seq === null ? null : { epoch: 1, seq };
    const { events, complete } = await eventsBefore(store, keys, "lot-1", from, entries);
    return { seqs: seqs(events), complete };
  };
  expect(await before(null)).toEqual({ seqs: [7, 6, 5, 4, 3, 2, 1], complete: true });
  expect(await before(7)).toEqual({ seqs: [6, 5, 4, 3, 2, 1], complete: true });
  expect(await before(3)).toEqual({ seqs: [2, 1], complete: true });
  expect(await before(1)).toEqual({ seqs: [], complete: true });
  expect(await before(null, 1)).toEqual({ seqs: [7, 6], complete: false });
  await store.xtrim(keys.lot("lot-1").events, "MAXLEN", 1);
  expect(await before(null)).toEqual({ seqs: [7, 6], complete: false });
  expect(await before(6)).toEqual({ seqs: [], complete: false });
});

test("what a reader of the outbox was shown is still there after Redis was killed", async () => {
  const { keys } = await defineAndOpen(store);
  const reader = await openStore(redis.url);
  const shown: string[] = [];
  let reading = true;
  const read = (async () => {
    while (reading) {
      try {
        const after = shown.at(-1) ?? "0-0";
        const entries = await readOutbox(reader, keys, after, { count: 100, blockMs: 100 });
        shown.push(...entries.map(({ id }) => id));
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 5)); // Redis is away.
      }
    }
  })();
  for (let kills = 0; kills < 5; kills++) {
    const before = shown.length;
    let placing = true;
    const load = (async () => {
      while (placing) await placeBatches(keys, [1]).catch(() => (placing = false));
    })();
    await until("the reader is shown bids", () => shown.length > before + 100);
    await redis.kill();
    placing = false;
    await load;
    await redis.restart();
    await until("Redis is back", () => store.ping());
    const kept = new Set((await store.xrange(keys.outbox, "-", "+")).map(([id]) => id));
    expect(shown.filter((id) => !kept.has(id))).toEqual([]);
  }
  reading = false;
  await read;
});
