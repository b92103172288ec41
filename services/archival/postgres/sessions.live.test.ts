/** Sessions with Postgres: whatever their settings are, and through PgBouncer. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { decodeEvent, type LotEvent } from "../../lot/events.ts";
import { readAuction, readLots } from "../../store/lots.ts";
import {
  AuctionUnderTest,
  callerOf,
  IMPATIENT,
  startServers,
  untilRestored,
} from "../../testing/archival.ts";
import { createHostileDatabase } from "../../testing/hostile-settings.ts";
import { startPgBouncer } from "../../testing/servers.ts";
import { until } from "../../testing/until.ts";
import { connectArchive, inTransaction } from "./connection.ts";
import { readOnlyQuery } from "./query.ts";
import { readArchive } from "./read-archive.ts";

const servers = await startServers();
const { url } = servers.postgres;
const hostileUrl = await createHostileDatabase(url);

const CONNECTIONS: [name: string, connect: () => Promise<string>][] = [
  ["a database with other settings", async () => hostileUrl],
  ["PgBouncer in session mode", () => startPgBouncer(hostileUrl, "session", 20)],
  // Fewer connections than clients: transactions of different clients alternate on each.
  ["PgBouncer in transaction mode", () => startPgBouncer(hostileUrl, "transaction", 2)],
];

test.each(CONNECTIONS)(
  "an auction is archived, read, restored and proved through %s",
  async (_, connect) => {
    const connected = await connect();
    const auction = new AuctionUnderTest({
      ...servers,
      postgres: { ...servers.postgres, url: connected },
    });
    const [first, ...others] = auction.definition().lots;
    const lots = [{ ...first!, lastsMs: 2_000 }, ...others];
    writeFileSync(auction.file("rules"), JSON.stringify({ ...auction.definition(), lots }));
    writeFileSync(auction.file("token"), "token");
    const archival = await auction.start(IMPATIENT, { OPERATOR_TOKEN_FILE: auction.file("token") });
    const operator = callerOf(archival, () => "token");
    const call = async (...of: Parameters<typeof operator>) => (await operator(...of)).body;

    await auction.open();
    await auction.bid(12);
    await until("the first lot has closed", async () => {
      await auction.passTime();
      return (await auction.decided()).some((text) => text.includes('"lot_closed"'));
    });
    await auction.expectAllArchived();

    // The archived rows are equal to the decided events, to the millisecond.
    const events = (await auction.decided()).map((text) => decodeEvent(text));
    const bids = events.filter((event) => event.type === "bid_accepted");
    const placed = (lotId: string) =>
      bids
        .filter((bid) => bid.lotId === lotId)
        .map(({ bidId, amountMinor, atMs }) => ({ bidId, amountMinor, placedAtMs: atMs }));
    const { bids: history } = await call("GET", "lots/lot-2/bids");
    expect(history).toMatchObject(placed("lot-2").toReversed());
    const closed = events.find((event) => event.type === "lot_closed")!;
    expect(await call("GET", "lots/lot-1/result")).toMatchObject({
      outcome: "sold",
      amountMinor: closed.amountMinor,
      closedAtMs: closed.atMs,
    });
    await readArchive(connected, async (archive) => {
      const scope = { auctionUid: auction.uid, lotId: null };
      const times = (of: readonly LotEvent[]) => of.map(({ atMs }) => atMs).toSorted();
      const rows = [];
      for await (const row of archive.events(scope)) rows.push(row.atMs);
      expect(rows.toSorted()).toEqual(times(events));
      const bidRows = await archive.bids(scope);
      expect(bidRows.map(({ placedAtMs }) => placedAtMs).toSorted()).toEqual(times(bids));
      expect(bidRows.every(({ amountMinor }) => Number.isSafeInteger(amountMinor))).toBe(true);
      expect((await archive.lots(scope)).find(({ lotId }) => lotId === "lot-1")).toMatchObject({
        status: "closed",
        bidCount: placed("lot-1").length,
      });
    });
    const shown = await readOnlyQuery(connected, "select closed_at from results");
    expect(shown.rows).toContainEqual([new Date(closed.atMs)]);
    expect(
      await auction.column(
        "select leading_bidder_id from public.lots where leading_bidder_id = 'NULL' and auction_uid = $1",
      ),
    ).toEqual([]);

    // Redis gets the same lots back.
    const storedLots = async () =>
      readLots(
        auction.store,
        auction.keys,
        (await readAuction(auction.store, auction.keys))!,
        auction.lotIds,
      );
    const before = await storedLots();
    await auction.wipe();
    await untilRestored(archival);
    expect(await storedLots()).toEqual(before.map((lot) => ({ ...lot, epoch: 2 })));

    await call("POST", "fence");
    const proof = await until("it is proved", async () => {
      const proof = await call("POST", "verify");
      return proof["ok"] === true && proof;
    });
    expect(proof).toMatchObject({ differences: [] });

    await auction.smuggle("lot-2", "not an event");
    const letters = await until("there is a dead letter", async () => {
      const { deadLetters } = await call("GET", "dead-letters");
      return deadLetters.length > 0 && deadLetters;
    });
    expect(letters).toMatchObject([{ body: "not an event", replayedAtMs: null }]);
    expect(Math.abs(letters[0].foundAtMs - Date.now())).toBeLessThan(60_000);
  },
);

test.each(["session", "transaction"] as const)(
  "statements and locks have a time limit through PgBouncer in %s mode, and sessions keep no state",
  async (mode) => {
    const bounced = await startPgBouncer(url, mode, 1);
    const archive = connectArchive(
      () => bounced,
      () => {},
    );
    const limits = await inTransaction(archive, async (session) => {
      const { rows } = await session.query<{ name: string; setting: number }>(
        `select name, setting::bigint from pg_settings where name in
         ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout') order by name`,
      );
      return rows.map(({ setting }) => setting);
    });
    expect(limits).toEqual([10_000, 5_000, 10_000]);
    await expect(
      inTransaction(archive, async (session) => {
        await session.query("set local statement_timeout = 50");
        await session.query("select pg_sleep(20)");
      }),
    ).rejects.toMatchObject({ code: "57014" });
    await archive.end();
    // The one connection to Postgres, as the next client gets it.
    const after = await readOnlyQuery(bounced, "select count(*) from pg_prepared_statements");
    expect(after.rows).toEqual([["0"]]);
  },
);

test("the null of an array stays null where the database reads it as text", async () => {
  const archive = connectArchive(
    () => hostileUrl,
    () => {},
  );
  const { rows } = await archive.query("select a is null as missing from unnest($1::text[]) a", [
    [null],
  ]);
  expect(rows).toEqual([{ missing: true }]);
  await archive.end();
});

test("readOnlyQuery() gives columns and rows, and stops at 1,000", async () => {
  expect(await readOnlyQuery(url, "select 1 as a, 'x' as b;")).toEqual({
    columns: ["a", "b"],
    rows: [[1, "x"]],
    more: false,
  });
  const many = await readOnlyQuery(url, "select generate_series(1, 5000)");
  expect(many.rows.length).toBe(1_000);
  expect(many.more).toBe(true);
  expect((await readOnlyQuery(url, "explain select 1")).rows.length).toBe(1);
});

test.each([
  "create table t ()",
  "select 1; create table t ()",
  "commit; create table t ()",
  "with made as (insert into pg_class default values returning 1) select * from made",
  "select nothing from nowhere",
  "",
  "set transaction read write",
])("readOnlyQuery() changes nothing by: %s", async (sql) => {
  await readOnlyQuery(url, sql).catch(() => {});
  const { rows } = await readOnlyQuery(url, "select to_regclass('t') is null");
  expect(rows).toEqual([[true]]);
});

test("readOnlyQuery() refuses to write, in Postgres's words", async () => {
  await expect(readOnlyQuery(url, "create table t ()")).rejects.toThrow("read-only transaction");
});
