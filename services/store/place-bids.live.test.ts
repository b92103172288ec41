import { randomInt, randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide } from "../lot/decide.ts";
import { encodeEvents, type LotEvent } from "../lot/events.ts";
import { apply } from "../lot/lifecycle.ts";
import { minimumBidMinor } from "../lot/increments.ts";
import type { Bid, Lot } from "../lot/lot.ts";
import { MAX_MINOR } from "../lot/money.ts";
import { bid, defineAndOpen, lotDefinition, RULES } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { Batcher, BATCHER_DEFAULTS, scriptStrategy, type Strategy } from "./batcher.ts";
import { storeClockMs } from "./connect.ts";
import type { AuctionDefinition } from "./define-lots.ts";
import type { Keys } from "./keys.ts";
import { keptBytesOf } from "./memory-budget.ts";
import { readAuction, readLots } from "./lots.ts";
import { optimisticStrategy } from "./optimistic.ts";
import { type Accepted, ENTRY_MAX_BYTES, MAX_BATCH, placeBids } from "./place-bids.ts";
import { AnswerWriter } from "./restore.ts";
import {
  NO_DEADLINE,
  openConnections,
  readLotEvents,
  readOutboxEvents,
  startStore,
} from "../testing/store.ts";
import { START } from "../lot/position.ts";

const { redis, store } = await startStore();

async function lotNow(keys: Keys, lotId = "lot-1"): Promise<Lot> {
  const auction = await readAuction(store, keys);
  const [found] = await readLots(store, keys, auction!, [lotId]);
  return found!;
}

const outboxEvents = (keys: Keys) => readOutboxEvents(store, keys);
const lotEvents = (keys: Keys) => readLotEvents(store, keys);

type Name = "script" | "optimistic";
function strategyOf(name: Name, keys: Keys): Strategy {
  if (name === "script") return scriptStrategy(store, keys);
  return optimisticStrategy(openConnections(redis.url), keys);
}

/** Opens an auction and connects a strategy for it. `place` places one bid on `lot-1`. */
async function openWith(name: Name, changes: Partial<AuctionDefinition> = {}) {
  const { keys } = await defineAndOpen(store, changes);
  const strategy = strategyOf(name, keys);
  await until("it is connected", () => strategy.nowMs());
  const place = async (one: Bid) => {
    const { placements } = await strategy.decide("lot-1", [one], START, NO_DEADLINE);
    return placements[0]!;
  };
  return { keys, strategy, place };
}

/** The keys of this window and their answers, alternating. */
async function keptText(keys: Keys): Promise<string[]> {
  const bucket = Number(await store.hget(keys.auction, "keysBucket"));
  return Object.entries(await store.hgetall(keys.answers[bucket % 2]!)).flat();
}

describe.for<Name>(["script", "optimistic"])("by the %s strategy", (name) => {
  test("the trace of a call lies beside its events in the outbox, and is nowhere else", async () => {
    const { keys, strategy } = await openWith(name);
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    await strategy.decide("lot-1", [bid(1_000)], START, NO_DEADLINE);
    await strategy.decide("lot-1", [bid(1_500)], START, NO_DEADLINE, traceparent);
    const entries = await store.xrange(keys.outbox, "-", "+");
    expect(entries.map(([, fields]) => fields.slice(4))).toEqual([
      [],
      ["traceparent", traceparent],
    ]);
    const { lot, events } = keys.lot("lot-1");
    const elsewhere = [await store.xrange(events, "-", "+"), await store.hgetall(lot)];
    expect(JSON.stringify(elsewhere)).not.toContain(traceparent);
    expect(await outboxEvents(keys)).toEqual(await lotEvents(keys));
    const bytes = entries.reduce((sum, [, fields]) => sum + Buffer.byteLength(fields[3]!), 0);
    expect((await readAuction(store, keys))!.pendingBytes).toBe(bytes);
  });

  test("bids are decided as lot/decide.ts decides them, and recorded as it records them", async () => {
    const rules = {
      ...RULES,
      antiSniping: { windowMs: 3_600_000, extensionMs: 3_600_000, maxExtensions: 20 },
      maxAmountMinor: 60_000,
      maxJump: 3,
    };
    const lots = [lotDefinition("lot-1", { reserveMinor: 5_000, lastsMs: 3_600_000 })];
    const { keys, strategy } = await openWith(name, { rules, lots });

    let model = await lotNow(keys);
    const expected: LotEvent[] = [];
    const rejections = new Set<string>();
    for (let round = 0; round < 60; round++) {
      const bids = Array.from({ length: randomInt(1, 12) }, () =>
        bid(Math.max(1, minimumBidMinor(model, model.leadingBid) + randomInt(-200, 900))),
      );
      if (round % 9 === 0) bids.push(bid(3 * minimumBidMinor(model, model.leadingBid) + 4_000));
      if (round === 50) bids.push(bid(60_001), bid(60_000), bid(60_201), bid(60_200), bid(60_400));
      const { placements, nowMs, position } = await strategy.decide(
        "lot-1",
        bids,
        START,
        NO_DEADLINE,
      );
      for (const [i, one] of bids.entries()) {
        const decision = decide(model, one, nowMs!);
        const placement = placements[i]!;
        if (decision.accepted) {
          expect(placement).toMatchObject({ outcome: "accepted", bidId: one.bidId });
          model = decision.lot;
          expected.push(...decision.events);
        } else {
          const { rejection, minimumMinor, maximumMinor } = decision;
          rejections.add(rejection);
          const judged = { minimumMinor, maximumMinor, seq: model.seq };
          expect(placement).toMatchObject({ outcome: rejection, ...judged });
        }
      }
      expect(position).toEqual({ epoch: model.epoch, seq: model.seq });
    }
    // Byte for byte: Lua writes an event as encodeEvent does.
    expect(encodeEvents(await outboxEvents(keys))).toBe(encodeEvents(expected));
    const [raw] = await store.xrevrange(keys.outbox, "+", "-", "COUNT", 1);
    expect(encodeEvents(expected)).toContain(raw![1][3]);
    expect(await lotEvents(keys)).toEqual(expected);
    expect(await lotNow(keys)).toEqual(model);
    expect(model.extensions).toBeGreaterThan(3);
    expect([...rejections].sort()).toEqual(["jump_too_large", "too_high", "too_low"]);
    expect(model.leadingBid!.amountMinor).toBeGreaterThan(rules.maxAmountMinor);
    expect(expected.some((event) => event.type === "bid_accepted" && event.reserveMet)).toBe(true);
  });

  test("a batch gives what its bids give one by one", async () => {
    const amounts = fc.array(fc.integer({ min: 900, max: 4_000 }), { minLength: 1, maxLength: 30 });
    const keyOf = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 30, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(amounts, keyOf, async (all, keyNumbers) => {
        const bids = all.map((amountMinor, i) => {
          return bid(amountMinor, { key: `key-${keyNumbers[i]}`, bidderId: "ann" });
        });
        const [whole, single] = await Promise.all([openWith(name), openWith(name)]);
        const together = await whole.strategy.decide("lot-1", bids, START, NO_DEADLINE);
        const apart = [];
        for (const one of bids) {
          const { placements } = await single.strategy.decide("lot-1", [one], START, NO_DEADLINE);
          apart.push(...placements);
        }
        const timeless = { placedAtMs: 0, closesAtMs: 0 };
        const strip = (placement: object) => ({ ...placement, ...timeless });
        expect(together.placements.map(strip)).toEqual(apart.map(strip));
        const bare = (events: LotEvent[]) =>
          events.map((event) => ({ ...event, atMs: 0, opensAtMs: 0, closesAtMs: 0 }));
        expect(bare(await outboxEvents(whole.keys))).toEqual(bare(await outboxEvents(single.keys)));
      }),
      { numRuns: name === "script" ? 60 : 15 },
    );
  });

  test("a bid sent again gets its first answer, bit for bit, and is placed once", async () => {
    const { keys, strategy, place } = await openWith(name);
    const one = bid(1_000);
    const first = await place(one);
    await place(bid(2_000));
    expect(await place({ ...one, bidId: randomUUID() })).toEqual(first);
    expect(await place({ ...one, amountMinor: 9_000 })).toEqual({ outcome: "key_reused" });
    expect(await place({ ...one, amountMinor: 1 })).toEqual({ outcome: "key_reused" });
    expect(await place({ ...one, bidderId: "somebody-else" })).toMatchObject({
      outcome: "too_low",
    });
    const twice = bid(3_000);
    const both = await strategy.decide("lot-1", [twice, twice], START, NO_DEADLINE);
    expect(both.placements[1]).toEqual(both.placements[0]);
    const accepted = (await outboxEvents(keys)).filter(({ type }) => type === "bid_accepted");
    expect(accepted).toHaveLength(3);
  });

  test("200 bidders with 50 bids each end with the highest accepted leading, and no gap in seq", async () => {
    const { keys, strategy } = await openWith(name);
    const batcher = new Batcher(strategy, { ...BATCHER_DEFAULTS, deadlineMs: 30_000 });
    let highest = 0;
    let acceptedCount = 0;
    const bidder = async (n: number): Promise<void> => {
      for (let i = 0; i < 50; i++) {
        const amountMinor = 1_000 + randomInt(0, 1_000_000);
        const one = bid(amountMinor, { bidderId: `bidder-${n}` });
        const placement = await batcher.place("lot-1", one);
        expect(["accepted", "too_low"]).toContain(placement.outcome);
        if (placement.outcome !== "accepted") continue;
        acceptedCount++;
        highest = Math.max(highest, amountMinor);
      }
    };
    await Promise.all(Array.from({ length: 200 }, (_, n) => bidder(n)));
    const after = await lotNow(keys);
    expect(after.leadingBid?.amountMinor).toBe(highest);
    const events = await outboxEvents(keys);
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
    expect(after).toMatchObject({ seq: events.length, bidCount: acceptedCount });
    expect(events.reduce(apply, { ...after, leadingBid: null, bidCount: 0 })).toEqual(after);
  });

  test("no bid is accepted from the close on, though nobody has closed the lot", async () => {
    const { keys, strategy } = await openWith(name, {
      lots: [lotDefinition("lot-1", { lastsMs: 2_500 })], // time for the connections of a strategy
    });
    const { closesAtMs } = await lotNow(keys);
    let amountMinor = 1_000;
    const outcomes = new Set<string>();
    await until("bids are rejected as closed", async () => {
      const { placements } = await strategy.decide(
        "lot-1",
        [bid((amountMinor += 500))],
        START,
        NO_DEADLINE,
      );
      outcomes.add(placements[0]!.outcome);
      return placements[0]!.outcome === "closed";
    });
    expect(outcomes).toEqual(new Set(["accepted", "closed"]));
    for (const event of await outboxEvents(keys)) expect(event.atMs).toBeLessThan(closesAtMs!);
    expect((await lotNow(keys)).status).toBe("open");
  });

  test("bidders and keys of any characters are kept as they are and break nothing", async () => {
    const { keys, strategy } = await openWith(name);
    let amountMinor = 1_000;
    const strings = fc.oneof(
      fc.string({ minLength: 1, unit: "binary", maxLength: 40 }),
      fc.constantFrom(
        '"',
        "\\",
        "\n",
        "\0",
        "{x}",
        "a:b",
        '","amountMinor":1,"',
        "é",
        "\ud800",
        "%s%d",
        "__proto__",
      ),
    );
    await fc.assert(
      fc.asyncProperty(strings, strings, async (bidderId, key) => {
        const one = bid((amountMinor += 500), { bidderId, key: key + amountMinor });
        const { placements } = await strategy.decide("lot-1", [one], START, NO_DEADLINE);
        expect(placements[0]).toMatchObject({ outcome: "accepted" });
        const [last] = (await outboxEvents(keys)).slice(-1);
        expect(last).toMatchObject({ bidderId, key: one.key, amountMinor });
        expect((await lotNow(keys)).leadingBid?.bidderId).toBe(bidderId);
        expect((await strategy.decide("lot-1", [one], START, NO_DEADLINE)).placements).toEqual(
          placements,
        );
      }),
      { numRuns: 40 },
    );
    const tag = keys.auction.replace(":auction", "");
    for (const found of await store.keys(`${tag.replace(/[{}[\]*?]/g, "\\$&")}*`)) {
      expect(found).toMatch(/:(auction|outbox|due|keys:[01]|(lot|events|closing):lot-1)$/);
    }
  });

  test("amounts up to 2^53 − 1 are exact in the answer, the event and the lot", async () => {
    const rules = { ...RULES, maxAmountMinor: Number.MAX_SAFE_INTEGER, maxJump: null };
    const { keys, strategy } = await openWith(name, { rules });
    for (const amountMinor of [100_000_000_000_001, 9_007_199_254_740_501]) {
      const one = bid(amountMinor);
      const { placements } = await strategy.decide("lot-1", [one], START, NO_DEADLINE);
      const minimum = { minimumMinor: amountMinor + 200 };
      expect(placements[0]).toMatchObject({ outcome: "accepted", amountMinor, ...minimum });
      expect((await outboxEvents(keys)).at(-1)).toMatchObject({ amountMinor, ...minimum });
      expect((await lotNow(keys)).leadingBid).toMatchObject({ amountMinor });
      expect((await strategy.decide("lot-1", [one], START, NO_DEADLINE)).placements).toEqual(
        placements,
      );
    }
    const above = await strategy.decide("lot-1", [bid(MAX_MINOR - 199)], START, NO_DEADLINE);
    expect(above.placements[0]).toMatchObject({ outcome: "too_high" });
  });

  test("nothing is decided past the deadline, behind what is known, over the limit, or unknown", async () => {
    const { keys, strategy } = await openWith(name);
    const ask = async (seen = START, deadlineMs = NO_DEADLINE, lotId = "lot-1") => {
      const { placements } = await strategy.decide(lotId, [bid(50_000)], seen, deadlineMs);
      return placements[0];
    };
    const clock = await storeClockMs(store);
    expect(await ask(START, clock - 1)).toEqual({ outcome: "unavailable", why: "expired" });
    const regressed = { outcome: "unavailable", why: "regressed" };
    expect(await ask({ epoch: 1, seq: 7 })).toEqual(regressed);
    expect(await ask({ epoch: 2, seq: 0 })).toEqual(regressed);
    expect(await ask(START, NO_DEADLINE, "lot-9")).toEqual({ outcome: "unknown_lot" });
    await store.hset(keys.auction, "maxPendingBytes", 0);
    expect(await ask()).toEqual({ outcome: "unavailable", why: "full" });
    await store.del(keys.auction);
    expect(await ask()).toEqual({ outcome: "unavailable", why: "undefined" });
    expect(await store.exists(keys.outbox)).toBe(0);
  });

  test("a kept answer has the form that the release before reads", async () => {
    const { keys, place } = await openWith(name);
    const one = bid(1_000);
    const first = (await place(one)) as Accepted;
    const { amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor } = first;
    const values = [amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor];
    const [, answer] = await keptText(keys);
    expect(answer).toBe(["accepted", ...values].join(" "));
    expect(await place({ ...one, bidId: "another" })).toEqual(first);
    expect(await place({ ...one, amountMinor: 1_500 })).toEqual({ outcome: "key_reused" });
  });

  test("the bytes of the keys of a window are counted, and bids are refused at their limit", async () => {
    const { keys, place } = await openWith(name);
    await place(bid(1_000));
    const counted = (await readAuction(store, keys))!.keysBytes;
    const text = await keptText(keys);
    expect(counted).toBe(keptBytesOf(text));
    await store.hset(keys.auction, "maxKeysBytes", counted);
    expect(await place(bid(2_000))).toEqual({ outcome: "unavailable", why: "full" });
    // The next window has room.
    await store.hincrby(keys.auction, "keysBucket", -1);
    expect(await place(bid(2_000))).toMatchObject({ outcome: "accepted" });
    expect((await readAuction(store, keys))!.keysBytes).toBeLessThan(2 * counted);
  });

  test("a bid whose answer is kept gets it while the keys or the outbox are full", async () => {
    const { keys, strategy } = await openWith(name);
    const place = async (...bids: Bid[]) => {
      return (await strategy.decide("lot-1", bids, START, NO_DEADLINE)).placements;
    };
    const one = bid(1_000);
    const first = await place(one);
    const full = { outcome: "unavailable", why: "full" };
    const limits = ["maxKeysBytes", "maxPendingBytes"];
    const usual = await store.hmget(keys.auction, ...limits);
    for (const [i, limit] of limits.entries()) {
      await store.hset(keys.auction, limit, 0);
      expect(await place(bid(2_000), one, bid(3_000), { ...one, amountMinor: 1_500 })).toEqual([
        full,
        ...first,
        full,
        { outcome: "key_reused" },
      ]);
      await store.hset(keys.auction, limit, usual[i]!);
    }
    expect(await place(bid(1_050))).toMatchObject([{ outcome: "accepted", seq: 3 }]);
  });

  test("an answer is kept for one to two windows of ten minutes, and then deleted", async () => {
    const { keys, place } = await openWith(name);
    const one = bid(1_000);
    const first = await place(one);
    const bucket = Number(await store.hget(keys.auction, "keysBucket"));
    // What is kept now becomes what was kept in the window before.
    const shiftBack = async (windows: number) => {
      await store.hset(keys.auction, "keysBucket", bucket - windows);
      if (windows % 2 === 0) return;
      const [even, odd] = keys.answers;
      for (const [from, to] of [
        [even, "aside"],
        [odd, even],
        ["aside", odd],
      ] as const) {
        if (await store.exists(from)) await store.rename(from, to);
        else await store.del(to);
      }
    };
    await shiftBack(1);
    expect(await place(one)).toEqual(first);
    expect(Number(await store.hget(keys.auction, "keysBucket"))).toBe(bucket);
    await shiftBack(2);
    expect(await place(one)).toMatchObject({ outcome: "too_low" });
    // A hash that comes round again holds what is two windows old: it is emptied first.
    const other = bid(2_000);
    expect(await place(other)).toMatchObject({ outcome: "accepted" });
    await store.hset(keys.auction, "keysBucket", bucket - 1);
    expect(await place(other)).toMatchObject({ outcome: "too_low" });
  });
});

test("a full batch of the largest fields is decided in one call", async () => {
  const antiSniping = { windowMs: 7_200_000, extensionMs: 7_200_000, maxExtensions: 100_000 };
  const { keys } = await defineAndOpen(store, { rules: { ...RULES, antiSniping } });
  const bids = Array.from({ length: MAX_BATCH }, (_, i) =>
    bid(1_000 + i * 500, { bidderId: "\u{1F600}".repeat(128), key: `${i}`.padStart(128, '"') }),
  );
  const { placements } = await placeBids(store, keys, "lot-1", bids, START, NO_DEADLINE);
  expect(placements.every(({ outcome }) => outcome === "accepted")).toBe(true);
  expect((await outboxEvents(keys)).length).toBeGreaterThan(MAX_BATCH + 1);
  const [[, [, , , text]]] = (await store.xrange(keys.outbox, "-", "+")) as [[string, string[]]];
  expect(Buffer.byteLength(text!)).toBeLessThan(ENTRY_MAX_BYTES);
});

test("the two strategies decide on one lot side by side without a lost or doubled event", async () => {
  const { keys } = await defineAndOpen(store);
  const batchers = (["script", "optimistic", "optimistic"] as const).map((name) => {
    return {
      batcher: new Batcher(strategyOf(name, keys), { ...BATCHER_DEFAULTS, deadlineMs: 30_000 }),
    };
  });
  await until("all are connected", async () => {
    const placed = await Promise.all(batchers.map(({ batcher }) => batcher.place("lot-1", bid(1))));
    return placed.every(({ outcome }) => outcome === "too_low");
  });
  let accepted = 0;
  await Promise.all(
    batchers.map(async ({ batcher }) => {
      for (let i = 0; i < 300; i++) {
        const placement = await batcher.place("lot-1", bid(1_000 + randomInt(0, 400_000)));
        if (placement.outcome === "accepted") accepted++;
        else expect(placement.outcome).toBe("too_low");
      }
    }),
  );
  const events = await outboxEvents(keys);
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  expect(events.filter(({ type }) => type === "bid_accepted")).toHaveLength(accepted);
});

test("restored answers that are written again are counted once", async () => {
  const { keys } = await defineAndOpen(store);
  const one = bid(1_000);
  const { placements } = await placeBids(store, keys, "lot-1", [one], START, NO_DEADLINE);
  const accepted = placements[0] as Accepted;
  const answers = [one, bid(2_000)].map(({ bidderId, key }) => ({ bidderId, key, accepted }));
  for (let attempts = 0; attempts < 2; attempts++) {
    const writer = await AnswerWriter.begin(store, keys, accepted.placedAtMs);
    await writer.write(answers);
    const text = await keptText(keys);
    expect(text).toHaveLength(4);
    expect((await readAuction(store, keys))!.keysBytes).toBe(keptBytesOf(text));
  }
});
