import { expect, test } from "vitest";
import { due } from "../lot/lifecycle.ts";
import { auctionDefinition, bid, defineAndOpen, lotDefinition, RULES } from "../testing/auction.ts";
import { until } from "../testing/until.ts";
import { storeClockMs } from "./connect.ts";
import { type AuctionDefinition, rulesHashOf } from "./define-lots.ts";
import { type Keys, keysOf } from "./keys.ts";
import { holdLease, releaseLease } from "./lease.ts";
import { advanceDueLots, openAuction } from "./lot-changes.ts";
import { readAuction } from "./lots.ts";
import { placeBids } from "./place-bids.ts";
import { defineAuction, readAllLots, readOutboxEvents, startStore } from "../testing/store.ts";

const { store } = await startStore();

const define = (definition: AuctionDefinition) => defineAuction(store, definition);
const lots = (keys: Keys) => readAllLots(store, keys);
const events = (keys: Keys) => readOutboxEvents(store, keys);
const place = async (keys: Keys, amountMinor: number, lotId = "lot-1") => {
  const nobody = { epoch: 0, seq: 0 };
  const one = [bid(amountMinor)];
  return (await placeBids(store, keys, lotId, one, nobody, Number.MAX_SAFE_INTEGER)).placements[0]!;
};

test("a definition is kept as it was given, and giving it twice changes nothing", async () => {
  const definition = auctionDefinition({
    opensAtMs: 4_000_000_000_000,
    lots: [
      lotDefinition("b", { reserveMinor: 7_000 }),
      lotDefinition("a", { closesAtMs: 4_000_000_060_000, lastsMs: null }),
    ],
  });
  const keys = keysOf(definition.uid);
  expect(await define(definition)).toEqual({ outcome: "defined" });
  const auction = await readAuction(store, keys);
  expect(auction).toMatchObject({
    uid: definition.uid,
    title: "Test sale",
    currency: "EUR",
    rules: RULES,
    epoch: 1,
    lotIds: ["b", "a"],
    opensAtMs: 4_000_000_000_000,
    rulesHash: rulesHashOf(definition),
  });
  const [b, a] = await lots(keys);
  expect(b).toMatchObject({ lotId: "b", status: "scheduled", reserveMinor: 7_000, seq: 0 });
  expect(b!.closesAtMs).toBe(4_000_003_600_000);
  expect(a!.closesAtMs).toBe(4_000_000_060_000);
  await define(definition);
  expect(await readAuction(store, keys)).toEqual(auction);
  expect(await lots(keys)).toEqual([b, a]);
  expect(await place(keys, 9_000, "a")).toMatchObject({ outcome: "not_open" });
});

test("an auction without an opening opens once, by Redis's clock, and is never opened anew", async () => {
  const definition = auctionDefinition({ lots: [lotDefinition("lot-1", { lastsMs: 60_000 })] });
  const keys = keysOf(definition.uid);
  expect(await openAuction(store, keys, ["lot-1"])).toBeNull();
  await define(definition);
  expect(await place(keys, 1_000)).toMatchObject({ outcome: "not_open" });
  const before = await storeClockMs(store);
  const opensAtMs = (await openAuction(store, keys, ["lot-1"]))!;
  expect(opensAtMs).toBeGreaterThanOrEqual(before);
  await until("the clock has moved", async () => (await storeClockMs(store)) > opensAtMs + 5);
  await define(definition);
  expect(await openAuction(store, keys, ["lot-1"])).toBe(opensAtMs);
  expect(await lots(keys)).toMatchObject([{ opensAtMs, closesAtMs: opensAtMs + 60_000 }]);
  expect(await place(keys, 1_000)).toMatchObject({ outcome: "accepted", seq: 2 });
});

test("an auction that opened before maxJump existed keeps its rules; one that has not opened gets it", async () => {
  const high = 1_000_000_000;
  for (const opensAtMs of [null, 4_000_000_000_000]) {
    const { definition, keys } = await defineAndOpen(store, { opensAtMs });
    await store.hdel(keys.auction, "maxJump"); // As the version before left it.
    expect(rulesHashOf({ ...definition, rules: { ...RULES, maxJump: null } })).toBe(
      rulesHashOf(definition),
    );
    expect(await define({ ...definition, name: "renamed" })).toEqual({ outcome: "defined" });
    const { rules } = (await readAuction(store, keys))!;
    expect(rules.maxJump).toBe(opensAtMs === null ? null : RULES.maxJump);
    if (opensAtMs === null) expect(await place(keys, high)).toMatchObject({ outcome: "accepted" });
    const lower = { ...definition, rules: { ...RULES, maxJump: 2 } };
    const { outcome } = await define(lower);
    expect(outcome).toBe(opensAtMs === null ? "refused" : "defined");
  }
});

test("until the auction opens anything may change; lots that are gone leave nothing", async () => {
  const definition = auctionDefinition({ lots: [lotDefinition("a"), lotDefinition("b")] });
  const keys = keysOf(definition.uid);
  await define(definition);
  const changed = { ...definition, currency: "USD", lots: [lotDefinition("b", { startMinor: 5 })] };
  expect(await define(changed)).toEqual({ outcome: "defined" });
  expect(await lots(keys)).toMatchObject([{ lotId: "b", startMinor: 5 }]);
  expect(await store.exists(keys.lot("a").lot)).toBe(0);
});

test("an open auction takes withdrawals and later closes, and refuses all else whole", async () => {
  const all = [lotDefinition("a"), lotDefinition("b"), lotDefinition("c")];
  const { definition, keys } = await defineAndOpen(store, { lots: all });
  await place(keys, 1_000, "a");
  const frozen: Partial<AuctionDefinition>[] = [
    { currency: "USD" },
    { rules: { ...RULES, maxAmountMinor: 5 } },
    { lots: all.slice(1) },
    { lots: [...all, lotDefinition("d")] },
    { lots: [lotDefinition("a", { startMinor: 1 }), ...all.slice(1)] },
    { lots: [lotDefinition("a", { lastsMs: 1_000 }), ...all.slice(1)] },
  ];
  const before = [await readAuction(store, keys), await lots(keys), await events(keys)];
  for (const change of frozen) {
    expect(await define({ ...definition, ...change })).toMatchObject({ outcome: "refused" });
    expect([await readAuction(store, keys), await lots(keys), await events(keys)]).toEqual(before);
  }

  const later = 2 * 60 * 60 * 1000;
  const moved = [
    lotDefinition("a", { lastsMs: later }),
    lotDefinition("b", { withdrawn: true }),
    lotDefinition("c"),
  ];
  expect(await define({ ...definition, lots: moved })).toEqual({ outcome: "defined" });
  await define({ ...definition, lots: moved });
  const [a, b, c] = await lots(keys);
  expect(a).toMatchObject({ closesAtMs: a!.opensAtMs! + later, extensions: 0, seq: 3 });
  expect(b).toMatchObject({ status: "withdrawn", seq: 1 });
  expect(c).toMatchObject({ status: "scheduled", seq: 0 });
  expect((await events(keys)).map(({ type, lotId }) => `${lotId} ${type}`)).toEqual([
    "a lot_opened",
    "a bid_accepted",
    "a lot_extended",
    "b lot_withdrawn",
  ]);
  expect(await place(keys, 9_000, "b")).toMatchObject({ outcome: "withdrawn" });
});

test("an opening that was stamped never moves, whatever opening the definition names later", async () => {
  const { definition, keys } = await defineAndOpen(store);
  await place(keys, 1_000);
  const before = [await readAuction(store, keys), await lots(keys)];
  const inTwoHours = (await storeClockMs(store)) + 7_200_000;
  const moved = { ...definition, opensAtMs: inTwoHours };
  expect(await define(moved)).toMatchObject({ outcome: "refused" });
  expect(await define({ ...moved, currency: "JPY" })).toMatchObject({ outcome: "refused" });
  expect([await readAuction(store, keys), await lots(keys)]).toEqual(before);
});

test("an opening that the definition no longer names is forgotten before it comes", async () => {
  const opensAtMs = (await storeClockMs(store)) + 7_200_000;
  const definition = auctionDefinition({ opensAtMs });
  const keys = keysOf(definition.uid);
  await define(definition);
  await define({ ...definition, opensAtMs: null });
  expect(await lots(keys)).toMatchObject([{ opensAtMs: null }]);
  expect(await openAuction(store, keys, ["lot-1"])).toBeLessThan(opensAtMs);
  expect(await place(keys, 1_000)).toMatchObject({ outcome: "accepted" });
});

test("a withdrawn lot stays withdrawn, and stays in the list", async () => {
  const withdrawn = lotDefinition("a", { withdrawn: true });
  const definition = auctionDefinition({ lots: [withdrawn, lotDefinition("b")] });
  await define(definition);
  for (const changed of [[lotDefinition("a"), lotDefinition("b")], [lotDefinition("b")]]) {
    expect(await define({ ...definition, lots: changed })).toMatchObject({ outcome: "refused" });
  }
});

test("a lot whose time is over is neither reopened by a later close nor withdrawn", async () => {
  const over = lotDefinition("lot-1", { lastsMs: 30 });
  const { definition, keys } = await defineAndOpen(store, { lots: [over] });
  const { closesAtMs } = (await lots(keys))[0]!;
  await until("its time is over", async () => (await storeClockMs(store)) > closesAtMs!);
  const late = { lastsMs: 60_000, withdrawn: true };
  await define({ ...definition, lots: [lotDefinition("lot-1", { ...late, withdrawn: false })] });
  await define({ ...definition, lots: [lotDefinition("lot-1", late)] });
  expect(await place(keys, 1_000)).toMatchObject({ outcome: "closed" });
  expect(await events(keys)).toEqual([]);
});

test("lots open and close when their time comes, once, with the result of lot/lifecycle.ts", async () => {
  const all = [
    lotDefinition("bought", { lastsMs: 1_500 }),
    lotDefinition("met", { lastsMs: 1_500, reserveMinor: 1_000 }),
    lotDefinition("unmet", { lastsMs: 1_500, reserveMinor: 5_000 }),
    lotDefinition("unwanted", { lastsMs: 1_500 }),
    lotDefinition("later", { lastsMs: 60_000 }),
  ];
  const { keys } = await defineAndOpen(store, { lots: all });
  const opened = await advanceDueLots(store, keys);
  expect([...opened.opened].sort()).toEqual(["bought", "later", "met", "unmet", "unwanted"]);
  for (const lotId of ["bought", "met", "unmet"]) await place(keys, 1_000, lotId);
  const open = await lots(keys);
  const passed = await until("four lots have closed", async () => {
    const { closed, nextMs } = await advanceDueLots(store, keys);
    return closed.length > 0 ? { closed, nextMs } : null;
  });
  expect([...passed.closed].sort()).toEqual(["bought", "met", "unmet", "unwanted"]);
  expect(passed.nextMs).toBe(open[4]!.closesAtMs);
  const closes = (await events(keys)).filter(({ type }) => type === "lot_closed");
  expect(closes).toHaveLength(4);
  expect(closes).toContainEqual(expect.objectContaining({ lotId: "met", outcome: "sold" }));
  for (const event of closes) {
    const lot = open.find(({ lotId }) => lotId === event.lotId)!;
    expect(due(lot, event.atMs)).toEqual([event]);
    expect(event.atMs).toBeGreaterThanOrEqual(lot.closesAtMs!);
  }
  expect(await advanceDueLots(store, keys)).toMatchObject({ opened: [], closed: [] });
  expect(await place(keys, 9_000, "bought")).toMatchObject({ outcome: "closed" });
});

test("a lot that nobody opened in its time is opened and closed", async () => {
  const lot = lotDefinition("lot-1", { lastsMs: 20 });
  const { keys } = await defineAndOpen(store, { lots: [lot] });
  const { closesAtMs } = (await lots(keys))[0]!;
  await until("its time is over", async () => (await storeClockMs(store)) > closesAtMs!);
  await advanceDueLots(store, keys);
  expect(await events(keys)).toMatchObject([
    { type: "lot_opened", seq: 1 },
    { type: "lot_closed", seq: 2, outcome: "no_bids" },
  ]);
});

test("a lease has one holder, who may keep it and give it back; an abandoned one runs out", async () => {
  const keys = keysOf("lease-test");
  const hold = (holder: string, ttlMs = 60_000) => holdLease(store, keys, "clock", holder, ttlMs);
  expect(await hold("ann")).toBe(true);
  expect(await hold("ben")).toBe(false);
  expect(await hold("ann")).toBe(true);
  await releaseLease(store, keys, "clock", "ben");
  expect(await hold("ben")).toBe(false);
  await releaseLease(store, keys, "clock", "ann");
  expect(await hold("ben", 30)).toBe(true);
  await until("it ran out", () => hold("ann"));
});
