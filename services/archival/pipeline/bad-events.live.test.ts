import { randomBytes, randomUUID } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { connectBus } from "../../bus/connect.ts";
import { publishEntry } from "../../bus/entry.ts";
import { encodeEvent } from "../../lot/events.ts";
import { readAuction } from "../../store/lots.ts";
import { compareIds } from "../../store/outbox.ts";
import { until } from "../../testing/until.ts";
import {
  AuctionUnderTest,
  IMPATIENT,
  metric,
  startAtWork,
  startServers,
  stateOf,
} from "../../testing/archival.ts";

const TABLES = ["events", "bids", "lots", "results", "watermarks"];

const servers = await startServers();

/** An event that would be the lot's next one. */
async function nextBid({ store, keys }: AuctionUnderTest, lotId: string) {
  const [tail] = await store.xrevrange(keys.lot(lotId).events, "+", "-", "COUNT", 1);
  return {
    type: "bid_accepted",
    lotId,
    epoch: 1,
    seq: Number(tail![0].split("-")[1]) + 1,
    atMs: Date.now(),
    bidId: randomUUID() as string,
    bidderId: "b",
    amountMinor: 5,
    minimumMinor: 6,
    key: "k",
    closesAtMs: Date.now() + 1000,
    reserveMet: null,
  } as const;
}

const letters = (auction: AuctionUnderTest, what: string) =>
  auction.column(`select ${what} from dead_letters where auction_uid = $1 order by dead_letter_id`);

test("what cannot be read goes to the dead letters and stops nothing", async () => {
  const { auction } = await startAtWork(servers);
  const id = await auction.smuggle("lot-1", '{\0 "ü');
  await auction.smuggle("lot-2", '{"type":"lot_sold"}');
  await auction.bid(30);
  await auction.expectAllArchived(["undecodable", "undecodable"]);
  expect((await letters(auction, "encode(body, 'hex')"))[0]).toBe("7b0020" + "22c3bc");
  expect((await letters(auction, "outbox_id"))[0]).toBe(id);
});

test("an event that Postgres cannot hold is set aside alone; the rest of its batch is not", async () => {
  const { auction, archival } = await startAtWork(servers);
  const event = { ...(await nextBid(auction, "lot-1")), bidderId: "a\0b" };
  const { seq } = event;
  const multi = auction.store.multi();
  multi.xadd(auction.keys.outbox, "*", "lotId", "lot-1", "events", encodeEvent(event));
  await multi.exec();
  await auction.bid(30);
  await until("it is a dead letter", async () => (await letters(auction, "reason")).length === 1);
  expect(await letters(auction, "reason")).toEqual(["refused"]);
  expect((await letters(auction, "detail"))[0]).toMatch(/^22021/);

  // What Postgres refuses can be seen, and tried again, by an owner only.
  const url = `${archival.internalUrl}/internal/v1/dead-letters`;
  const authorization = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(url, authorization(await auction.token("bid")))).status).toBe(403);
  const admin = authorization(await auction.token("admin"));
  const { deadLetters } = (await (await fetch(url, admin)).json()) as {
    deadLetters: { deadLetterId: number; lotId: string }[];
  };
  expect(deadLetters).toMatchObject([{ lotId: "lot-1", reason: "refused" }]);
  const replay = `${url}/${deadLetters[0]!.deadLetterId}/replay`;
  const again = await fetch(replay, { method: "POST", ...admin });
  expect(await again.json()).toMatchObject({ outcome: "refused" });
  await auction.archive.query("update dead_letters set body = $2 where dead_letter_id = $1", [
    deadLetters[0]!.deadLetterId,
    Buffer.from(encodeEvent({ ...event, bidderId: "ab", seq: seq + 1_000_000 })),
  ]);
  const repaired = await fetch(replay, { method: "POST", ...admin });
  expect(await repaired.json()).toEqual({ outcome: "archived", events: 1 });
  expect((await fetch(replay, { method: "POST", ...admin })).status).toBe(404);
});

test("of a batch, only the entry too long for an index becomes a dead letter", async () => {
  const { auction } = await startAtWork(servers);
  const bidId = randomBytes(6_000).toString("base64url");
  const event = { ...(await nextBid(auction, "lot-1")), bidId };
  await auction.smuggle("lot-1", encodeEvent(event));
  await auction.bid(30);
  await until("it is a dead letter", async () => (await letters(auction, "reason")).length === 1);
  expect((await letters(auction, "detail"))[0]).toMatch(/^54000: index row size/);
});

test("a Postgres that refuses is named, and everything is archived once it serves", async () => {
  const { auction, archival } = await startAtWork(servers);
  const readiness = () => fetch(`${archival.internalUrl}/readyz`);
  const refuses = () => metric(archival, "gavel_archival_store_refuses", '"postgres"');
  expect([(await readiness()).status, await refuses()]).toEqual([200, 0]);

  await auction.archive.query("alter table events rename to events_away");
  await auction.bid(30);
  const reason = expect.stringMatching(/42P01: relation ".*events" does not exist$/);
  await until("it is named", async () => (await readiness()).status === 503);
  expect(await (await readiness()).json()).toMatchObject({ why: reason });
  expect(await stateOf(archival)).toMatchObject({ postgres: true, refusals: { postgres: reason } });
  expect(await refuses()).toBe(1);

  await auction.archive.query("alter table events_away rename to events");
  await auction.expectAllArchived();
  await until("nothing is refused", async () => (await readiness()).status === 200);
  expect(await refuses()).toBe(0);
});

test("a constraint that somebody added to the archive makes no dead letter", async () => {
  const { auction, archival } = await startAtWork(servers);
  await auction.archive.query("alter table events add check (seq < 0) not valid");
  await auction.bid(1);
  const readiness = () => fetch(`${archival.internalUrl}/readyz`);
  await until("it is named", async () => (await readiness()).status === 503);
  expect(await (await readiness()).text()).toContain("23514");
  await auction.archive.query("alter table events drop constraint events_seq_check");
  await auction.expectAllArchived();
});

test("a defect while a batch is written stops the process", async () => {
  const auction = new AuctionUnderTest(servers);
  const require = createRequire(import.meta.url);
  writeFileSync(
    auction.file("defect.mjs"),
    `import { createRequire } from "node:module";
     const { Client } = createRequire(${JSON.stringify(require.resolve("pg"))})("pg");
     const { query } = Client.prototype;
     Client.prototype.query = function (what, ...rest) {
       if (/insert into \\S*events/.test(what.text ?? what)) throw new TypeError("x is not a function");
       return query.call(this, what, ...rest);
     };`,
  );
  const spawned = auction.spawn({ NODE_OPTIONS: `--import=${auction.file("defect.mjs")}` });
  const exited = once(spawned, "exit");
  await auction.open();
  await auction.bid(3);
  expect(await exited).toEqual([1, null]);
});

test("another event at an archived position becomes a dead letter and is counted", async () => {
  const { auction, archival } = await startAtWork(servers);
  await archival.stop();
  const was = (await auction.archived())[3]!;
  await auction.archive.query("update events set body = $3 where auction_uid = $1 and body = $2", [
    auction.uid,
    was,
    was.replace('"bidderId":"bidder', '"bidderId":"Bidder'),
  ]);
  await auction.archive.query("update watermarks set outbox_id = '0-0' where auction_uid = $1", [
    auction.uid,
  ]);
  const again = await auction.start();
  await until("it is a dead letter", async () => (await letters(auction, "reason")).length > 0);
  expect(await letters(auction, "reason")).toEqual(["conflict"]);
  expect(await letters(auction, "convert_from(body, 'UTF8')")).toEqual([was]);
  expect(await metric(again, "gavel_archival_conflicts_total")).toBe(1);
});

test("a Postgres that went back to an earlier day is filled again from the outbox", async () => {
  const { auction, archival } = await startAtWork(servers);
  await auction.archive.query(
    TABLES.map((table) => `create table backup_of_${table} as select * from ${table}`).join(";"),
  );
  await auction.bid(60);
  await auction.expectAllArchived();
  // As a restored backup: rows gone, watermark back.
  await auction.archive.query(
    TABLES.map((table) => {
      return `delete from ${table}; insert into ${table} select * from backup_of_${table}`;
    }).join(";"),
  );
  await auction.bid(3);
  await auction.expectAllArchived();
  expect(await metric(archival, "gavel_archival_pair_restarts_total", '"superseded"')).toBe(1);
});

test("what the outbox dropped before it was archived is recorded as lost, and the rest goes on", async () => {
  const { auction, archival } = await startAtWork(servers);
  await archival.stop();
  await auction.bid(30);
  const [oldest] = (await auction.store.xrevrange(auction.keys.outbox, "+", "-", "COUNT", 5)).slice(
    -1,
  );
  await auction.store.xtrim(auction.keys.outbox, "MINID", oldest![0]);
  await auction.store.hset(auction.keys.auction, "trimmedId", oldest![0]);
  const before = (await auction.archived()).length;
  const again = await auction.start();
  await until(
    "the rest is archived",
    async () => (await auction.archived()).length === before + 15,
  );
  expect(await letters(auction, "reason")).toEqual(["lost"]);
  expect(await metric(again, "gavel_archival_losses_total")).toBe(1);
  await again.stop();
  await auction.start();
  await auction.bid(6);
  await until("it goes on", async () => (await auction.archived()).length === before + 15 + 18);
  expect(await letters(auction, "reason")).toEqual(["lost"]);
});

test("the outbox is never trimmed beyond what Postgres committed", async () => {
  const { auction, archival } = await startAtWork(servers, 30, { ...IMPATIENT, retainMs: 0 });
  const beyond = async (): Promise<boolean> => {
    const trimmedId = (await readAuction(auction.store, auction.keys))!.trimmedId;
    const [at] = await auction.column("select outbox_id from watermarks where auction_uid = $1");
    return compareIds(trimmedId, at!) > 0;
  };
  for (let round = 0; round < 10; round++) {
    await auction.bid(12);
    expect(await beyond()).toBe(false);
  }
  await servers.postgres.kill();
  const kept = (await readAuction(auction.store, auction.keys))!.archivedId;
  await auction.bid(30);
  await until("the relay goes on", async () => {
    return (await metric(archival, "gavel_archival_archive_lag_entries")) >= 30;
  });
  const waiting = await auction.store.xrange(auction.keys.outbox, `(${kept}`, "+");
  expect(waiting.length).toBeGreaterThanOrEqual(30);
  await servers.postgres.restart();
  await auction.expectAllArchived();
  await until("all but the newest is trimmed", async () => {
    return (await auction.store.xlen(auction.keys.outbox)) <= 1;
  });
  expect(await beyond()).toBe(false);
});

test("a relay that was stalled while another took over is refused by the stream", async () => {
  const { auction } = await startAtWork(servers);
  const bus = await connectBus(() => servers.nats.url, "stalled");
  const ids = { outboxId: "9-0", afterId: "8-0", traceparent: null };
  const entry = { ...ids, lotId: "lot-1", events: "x" };
  await expect(publishEntry(bus, auction.uid, entry, 5)).rejects.toThrow(/wrong last sequence/);
  await bus.connection.close();
});
