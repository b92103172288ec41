/** What an operator has an auction do, to its end: rules, suspension, fence, proof, removal. */
import { rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { connectBus } from "../bus/connect.ts";
import { streamState } from "../bus/stream.ts";
import { type AuctionDefinition, rulesHashOf } from "../store/define-lots.ts";
import { fenceAuction } from "../store/lot-changes.ts";
import { readAuction, readLots } from "../store/lots.ts";
import { compareIds } from "../store/outbox.ts";
import { type Placement, placeBids } from "../store/place-bids.ts";
import {
  AuctionUnderTest,
  callerOf,
  IMPATIENT,
  startServers,
  stateOf,
  untilRestored,
} from "../testing/archival.ts";
import { until } from "../testing/until.ts";
import type { Archival } from "./app.ts";
import {
  markFenced,
  readAuctionMarks,
  saveProof,
  type CompletenessProof,
} from "./postgres/auction-marks.ts";
import type { ArchivalState } from "./observe/state.ts";

const servers = await startServers();
const TOKEN = "the-operators-own-token";

interface Operated {
  readonly auction: AuctionUnderTest;
  readonly archival: Archival;
  state(): Promise<ArchivalState>;
  post(path: string, body?: unknown): Promise<{ status: number; body: Record<string, any> }>;
}

async function operate(auction: AuctionUnderTest): Promise<Operated> {
  writeFileSync(auction.file("token"), `${TOKEN}\n`);
  const archival = await auction.start(IMPATIENT, { OPERATOR_TOKEN_FILE: auction.file("token") });
  const state = () => stateOf(archival);
  const call = callerOf(archival, () => TOKEN);
  const post: Operated["post"] = (path, body) => call("POST", path, body);
  await auction.connected();
  await until("it serves", async () => (await state()).phase === "serving");
  return { auction, archival, state, post };
}

async function place(
  { store, keys }: AuctionUnderTest,
  amountMinor: number,
  key: string = randomUUID(),
  bidId: string = randomUUID(),
): Promise<Placement> {
  const bids = [{ bidId, bidderId: "ada", key, amountMinor }];
  const seen = { epoch: 0, seq: 0 };
  return (await placeBids(store, keys, "lot-1", bids, seen, 2 ** 53 - 1)).placements[0]!;
}

test("the operator's token is the text of its file at that moment, and no other is good", async () => {
  const auction = new AuctionUnderTest(servers);
  const { archival } = await operate(auction);
  const open = async (token: string) => {
    const headers = { authorization: `Bearer ${token}` };
    const url = `${archival.internalUrl}/internal/v1/open`;
    return (await fetch(url, { method: "POST", headers })).status;
  };
  writeFileSync(auction.file("token"), "first\n");
  expect([await open("first"), await open("second"), await open("firs")]).toEqual([200, 401, 401]);
  writeFileSync(auction.file("token"), "second");
  expect([await open("first"), await open("second")]).toEqual([401, 200]);
  rmSync(auction.file("token"));
  expect([await open("second"), await open("")]).toEqual([401, 401]);
  expect(await open(await auction.token("admin"))).toBe(200);
});

test("the state tells lots, bids, closes, durability and what has ended", async () => {
  const auction = new AuctionUnderTest(servers);
  const definition = auction.definition();
  const [first, second, third] = definition.lots;
  const lots = [{ ...first!, lastsMs: 2_000 }, { ...second!, withdrawn: true }, third!];
  auction.writeRules({ ...definition, lots });
  const { state, post } = await operate(auction);
  const before = await state();
  expect(before).toMatchObject({
    lots: { total: 3, scheduled: 2, open: 0, closed: 0, sold: 0, unsold: 0, withdrawn: 1 },
    extensions: 0,
    bidsAccepted: 0,
    suspended: false,
    fencedId: null,
    verified: null,
    cleaned: false,
    refusedRules: null,
    rulesHash: rulesHashOf({ ...definition, lots }),
    durability: { keeps: "yes", settings: [] },
  });
  const { opensAtMs } = (await post("open")).body;
  expect(await place(auction, 500)).toMatchObject({ outcome: "accepted" });
  const open = await state();
  expect(open).toMatchObject({
    lots: { scheduled: 0, open: 2, closed: 0, withdrawn: 1 },
    bidsAccepted: 1,
    opensAtMs,
    closesAtMs: opensAtMs + third!.lastsMs!,
  });
  expect(open.nowMs).toBeGreaterThanOrEqual(opensAtMs);
  expect(open.nowMs).toBeLessThan(Date.now() + 1_000);
  const lastId = async () => {
    const [tail] = await auction.store.xrevrange(auction.keys.outbox, "+", "-", "COUNT", 1);
    return tail![0];
  };
  expect(open.lastId).toBe(await lastId());
  await until("the first has closed", async () => {
    await auction.passTime();
    return (await state()).lots!.sold === 1;
  });
  expect((await state()).lots).toMatchObject({ open: 1, closed: 1, sold: 1, unsold: 0 });

  await auction.store.config("SET", "appendfsync", "everysec");
  await auction.store.config("SET", "maxmemory-policy", "allkeys-lru");
  const settings = ["appendfsync=everysec", "maxmemory-policy=allkeys-lru"];
  expect((await state()).durability).toEqual({ keeps: "no", settings });
  await auction.store.config("SET", "appendfsync", "always");
  await auction.store.config("SET", "maxmemory-policy", "noeviction");
  await auction.store.call("ACL", "SETUSER", "default", "-config");
  expect((await state()).durability).toEqual({ keeps: "unknown", settings: [] });
  await auction.store.call("ACL", "SETUSER", "default", "+@all");
});

test("rules are taken by POST and from a file that was swapped, or refused with the reason", async () => {
  const auction = new AuctionUnderTest(servers);
  const { state, post } = await operate(auction);
  const definition = auction.definition();
  const titled = { ...definition, title: "By POST" };
  expect(await post("rules", titled)).toEqual({
    status: 200,
    body: { outcome: "defined", rulesHash: rulesHashOf(titled) },
  });
  expect((await state()).rulesHash).toBe(rulesHashOf(titled));
  expect(await auction.column("select title from auctions where auction_uid = $1")).toEqual([
    "By POST",
  ]);
  for (const wrong of [{}, { ...definition, uid: "other" }, { ...definition, lots: [] }]) {
    expect((await post("rules", wrong)).body).toMatchObject({ code: "invalid", status: 400 });
  }

  // As a mounted secret changes: the name leads to another folder.
  const swapped = (rules: AuctionDefinition | string, name: string) => {
    const text = typeof rules === "string" ? rules : JSON.stringify(rules);
    writeFileSync(auction.file(name), text);
    unlinkSync(auction.file("rules"));
    symlinkSync(auction.file(name), auction.file("rules"));
  };
  const fromFile = { ...definition, title: "From the file" };
  swapped(fromFile, "rules-2");
  await until("the file is taken", async () => {
    return (await state()).rulesHash === rulesHashOf(fromFile);
  });
  swapped("{", "rules-3");
  await until("the refusal is in the state", async () =>
    (await state()).refusedRules?.includes("JSON"),
  );
  expect((await state()).rulesHash).toBe(rulesHashOf(fromFile));

  await post("open");
  const currency = { ...fromFile, currency: "USD" };
  expect(await post("rules", currency)).toMatchObject({
    status: 409,
    body: { code: "refused", detail: expect.stringContaining("frozen") },
  });
  expect((await state()).refusedRules).toContain("frozen");
  expect((await post("rules", fromFile)).status).toBe(200);
  expect((await state()).refusedRules).toBeNull();
});

test("a suspended auction stays so through a lost Redis, and then closes as much later", async () => {
  const auction = new AuctionUnderTest(servers);
  const { archival, state, post } = await operate(auction);
  await post("open");
  await auction.bid(6);
  const definition = auction.definition();
  expect((await post("rules", { ...definition, suspended: true })).status).toBe(200);
  expect(await place(auction, 1_000_000)).toMatchObject({ outcome: "suspended" });
  expect(await state()).toMatchObject({ suspended: true, lots: { open: 3 } });
  await auction.expectAllArchived();
  const before = (await readAuction(auction.store, auction.keys))!;
  const closes = await lotsOf(auction);
  await auction.wipe();
  await untilRestored(archival);
  const after = (await readAuction(auction.store, auction.keys))!;
  expect(after).toMatchObject({ intake: "suspended", suspendedAtMs: before.suspendedAtMs });
  expect(await place(auction, 1_000_000)).toMatchObject({ outcome: "suspended" });
  await until("it goes on", async () => (await post("rules", definition)).status === 200);
  const resumed = await lotsOf(auction);
  for (const [i, lot] of resumed.entries()) {
    const lostMs = lot.closesAtMs! - closes[i]!.closesAtMs!;
    expect(lostMs).toBe(lot.atMs - before.suspendedAtMs!);
    expect(lot).toMatchObject({ extensions: 0, intake: "taking" });
  }
  expect(await auction.column("select suspended_at from auctions where auction_uid = $1")).toEqual([
    null,
  ]);
  expect(await place(auction, 1_000_000)).toMatchObject({ outcome: "accepted" });
});

async function lotsOf({ store, keys, lotIds }: AuctionUnderTest) {
  const auction = (await readAuction(store, keys))!;
  return (await readLots(store, keys, auction, lotIds)).map((lot) => lot!);
}

test("a fence holds through a lost Redis, and a key from before it is answered as then", async () => {
  const auction = new AuctionUnderTest(servers);
  const { archival, state, post } = await operate(auction);
  await post("open");
  await auction.bid(6);
  const accepted = await place(auction, 5_000, "mine", "8d9f8dbe-2a1c-4b9e-9b5f-0c1d2e3f4a5b");
  expect(accepted).toMatchObject({ outcome: "accepted" });
  const fenced = await post("fence");
  expect(fenced).toEqual({ status: 200, body: { fencedId: (await state()).lastId } });
  expect(await post("fence")).toEqual(fenced);
  expect(await state()).toMatchObject({
    fencedId: fenced.body["fencedId"],
    bidsAccepted: 19,
    lots: { open: 0, closed: 3, sold: 0, unsold: 0 },
  });
  expect((await post("rules", { ...auction.definition(), title: "late" })).status).toBe(409);
  await auction.expectAllArchived();

  await auction.wipe();
  await untilRestored(archival);
  expect(await place(auction, 9_000)).toMatchObject({ outcome: "closed" });
  expect(await place(auction, 5_000, "mine")).toEqual(accepted);
  const again = await post("fence");
  expect(await state()).toMatchObject({
    fencedId: again.body["fencedId"],
    archivedId: again.body["fencedId"],
  });

  // A Redis that kept everything but the fence: what fsync once a second may cost.
  await auction.store.hdel(auction.keys.auction, "fencedId", "fencedAtMs");
  await until("the fence is back", async () => {
    return (await readAuction(auction.store, auction.keys))!.fencedId !== null;
  });
  const verified = await until("the archive is proved", async () => {
    const { body } = await post("verify");
    return body["ok"] ? body : null;
  });
  expect(verified).toMatchObject({ lots: 3, events: 22, differences: [] });
});

test("what was lost before the fence's mark was archived does not keep the proof from being given", async () => {
  const auction = new AuctionUnderTest(servers);
  const first = await operate(auction);
  await first.post("open");
  await auction.bid(6);
  await auction.expectAllArchived();
  await first.archival.stop();
  await auction.bid(3);
  const fence = (await fenceAuction(auction.store, auction.keys, auction.lotIds))!;
  await markFenced(auction.archive, auction.uid, fence);
  await auction.wipe();
  const { archival, state, post } = await operate(auction);
  await untilRestored(archival);
  expect(await place(auction, 1_000_000)).toMatchObject({ outcome: "closed" });
  const { fencedId, lastId } = await state();
  expect(fencedId).toBe(lastId);
  expect(compareIds(fencedId!, fence.fencedId)).toBeLessThan(0);
  expect((await post("verify")).body).toMatchObject({ ok: true, events: 21 });
});

test("verify finds whatever the archive lacks, has too much or has otherwise", async () => {
  const auction = new AuctionUnderTest(servers);
  const { state, post } = await operate(auction);
  await post("open");
  await auction.bid(12);
  await auction.expectAllArchived();
  const verify = async () => (await post("verify")).body as CompletenessProof;
  expect(await verify()).toMatchObject({ ok: false, differences: ["the auction is not fenced"] });
  await post("fence");
  const right = await until("the watermark is there", async () => {
    const verified = await verify();
    return verified.ok ? verified : null;
  });
  expect(right).toMatchObject({ lots: 3, events: 39, differences: [] });
  expect((await state()).verified).toEqual(right);
  const slower = { ...right, atMs: right.atMs - 1, ok: false };
  await saveProof(auction.archive, auction.uid, slower, null);
  expect((await readAuctionMarks(auction.archive, auction.uid)).verified).toEqual(right);

  const damages: [sql: string, undo: string, difference: RegExp][] = [
    [
      `update events set body = replace(body, '"amountMinor":10,', '"amountMinor":11,')`,
      `update events set body = replace(body, '"amountMinor":11,', '"amountMinor":10,')`,
      /lot-1: sum of bids \(mod 10\^15\): archived \d+1, decided \d+0/,
    ],
    [
      `create temp table gone as select * from events where auction_uid = '${auction.uid}' and seq = 13;
       delete from events where auction_uid = '${auction.uid}' and seq = 13`,
      `insert into events select * from gone; drop table gone`,
      /lot-1: bids: archived 11, decided 12/,
    ],
    [
      `update events set body = replace(body, 'bidder', 'bidden')`,
      `update events set body = replace(body, 'bidden', 'bidder')`,
      /lot-2: chain of events/,
    ],
    [
      `create temp table gone as select * from bids where auction_uid = '${auction.uid}' and seq = 5;
       delete from bids where auction_uid = '${auction.uid}' and seq = 5`,
      `insert into bids select * from gone; drop table gone`,
      /lot-3: rows of bids: archived 11, decided 12/,
    ],
  ];
  const session = await auction.archive.pool.connect();
  try {
    for (const [sql, undo, difference] of damages) {
      await session.query(sql);
      const found = await verify();
      expect(found.ok).toBe(false);
      expect(found.differences.join("\n")).toMatch(difference);
      expect((await post("clean")).body).toMatchObject({ code: "refused" });
      await session.query(undo);
    }
  } finally {
    session.release();
  }
  expect((await verify()).ok).toBe(true);
});

test("a removed auction is gone from Redis and JetStream for good, and its record is not", async () => {
  const auction = new AuctionUnderTest(servers);
  const { archival, state, post } = await operate(auction);
  await post("open");
  await auction.bid(6);
  expect((await post("clean")).body).toMatchObject({ code: "refused", status: 409 });
  await post("fence");
  await auction.expectAllArchived();
  expect((await post("clean")).body).toMatchObject({ detail: "The archive was not verified." });
  await until("the archive is proved", async () => (await post("verify")).body["ok"]);
  expect(await post("clean")).toEqual({ status: 200, body: { cleaned: true } });
  expect(await state()).toMatchObject({
    phase: "removed",
    cleaned: true,
    rulesHash: null,
    lots: null,
    redis: true,
    verified: { ok: true },
  });
  const left = async () => {
    return (await auction.store.keys(`*${auction.uid}*`)).filter(
      (key) => !key.endsWith(":cleaned"),
    );
  };
  expect(await left()).toEqual([]);
  const bus = await connectBus(() => servers.nats.url, "test");
  expect(await streamState(bus, auction.uid)).toBeNull();
  expect(await post("clean")).toEqual({ status: 200, body: { cleaned: true } });
  for (const path of ["open", "fence", "verify"]) expect((await post(path)).status).toBe(503);
  expect((await post("rules", auction.definition())).body).toMatchObject({ code: "refused" });

  const bids = async (url: string) => {
    const answer = await fetch(`${url}/internal/v1/lots/lot-1/bids`);
    return ((await answer.json()) as { bids: unknown[] }).bids.length;
  };
  expect(await bids(archival.internalUrl)).toBe(6);
  await archival.stop();
  const next = await auction.start();
  await until("it knows", async () => (await stateOf(next)).phase === "removed");
  expect(await stateOf(next)).toMatchObject({ cleaned: true });
  expect(await bids(next.internalUrl)).toBe(6);
  expect([await left(), await streamState(bus, auction.uid)]).toEqual([[], null]);
  await bus.connection.close();
});

test("by force an auction is removed without a proof, also where another process relays", async () => {
  const auction = new AuctionUnderTest(servers);
  const { post, state } = await operate(auction);
  const other = await auction.start();
  await until("the other one serves", async () => (await stateOf(other)).phase === "serving");
  await post("open");
  await auction.bid(3);
  await auction.expectAllArchived();
  expect((await post("clean", { force: true })).body).toEqual({ cleaned: true });
  expect(await state()).toMatchObject({ phase: "removed", cleaned: true });
  await until("the other one knows", async () => (await stateOf(other)).phase === "removed");
  expect((await post("clean", { force: "maybe" })).body).toMatchObject({ code: "invalid" });
});

test("archival says whether the auction is well, and what is wrong", async () => {
  const auction = new AuctionUnderTest(servers);
  const { archival, post } = await operate(auction);
  const ask = async (query = "") => {
    const answer = await fetch(`${archival.internalUrl}/internal/v1/invariants${query}`);
    const { violations } = (await answer.json()) as { violations: string[] };
    expect(answer.status).toBe(violations?.length === 0 ? 200 : 503);
    return violations;
  };
  await post("open");
  await auction.bid(6);
  await auction.expectAllArchived();
  await until("the archive is current", async () => (await ask("?archive=current")).length === 0);
  expect(await ask()).toEqual([]);

  await auction.archive.query("update lots set bid_count = bid_count - 1 where auction_uid = $1", [
    auction.uid,
  ]);
  await until("a missing bid is a violation", async () => (await ask()).includes("missing"));
  await auction.archive.query("update lots set bid_count = bid_count + 1 where auction_uid = $1", [
    auction.uid,
  ]);
  await until("all is well", async () => (await ask()).length === 0);
  await auction.store.set(auction.keys.healthSummary, "{}");
  expect(await ask("?archive=current")).toEqual(["archive_lag"]);
  await archival.stop();
});
