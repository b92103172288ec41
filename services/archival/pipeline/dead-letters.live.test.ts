import { expect, onTestFinished, test } from "vitest";
import { type Bus, connectBus } from "../../bus/connect.ts";
import { subjectOf } from "../../bus/subjects.ts";
import { encodeEvent } from "../../lot/events.ts";
import {
  AuctionUnderTest,
  callerOf,
  metric,
  startAtWork,
  startServers,
} from "../../testing/archival.ts";
import { until } from "../../testing/until.ts";
import type { Archival } from "../app.ts";
import { recordBatch } from "../postgres/record-batch.ts";
import { foreignBatch } from "./build-batch.ts";

const servers = await startServers();

const letters = (auction: AuctionUnderTest, what = "reason") =>
  auction.column(`select ${what} from dead_letters where auction_uid = $1 order by dead_letter_id`);

async function stranger(): Promise<Bus> {
  const bus = await connectBus(() => servers.nats.url, "stranger");
  onTestFinished(() => bus.connection.close());
  return bus;
}

const garbage = Uint8Array.of(0x7b, 0xff, 0);

/** Calls archival as the owner. */
const ownerOf = (auction: AuctionUnderTest, archival: Archival) =>
  callerOf(archival, () => auction.token("admin"));

/** Ends the auction, and waits until everything up to the fence is archived. */
async function fence(auction: AuctionUnderTest, archival: Archival) {
  const call = ownerOf(auction, archival);
  expect((await call("POST", "fence")).status).toBe(200);
  await until("it is archived", async () => {
    const { body } = await call("GET", "state");
    return body["archivedId"] === body["fencedId"] && body["fencedId"] !== null;
  });
  return call;
}

test("a message that was never in the outbox is a dead letter, and neither the proof nor the invariants wait for it", async () => {
  const { auction, archival } = await startAtWork(servers);
  const bus = await stranger();
  const [before] = await auction.column("select outbox_id from watermarks where auction_uid = $1");
  await bus.stream.publish(subjectOf(auction.uid, 0, "lot-1"), garbage);
  await bus.stream.publish(subjectOf(auction.uid, 7, "lot-1"), garbage);
  await until("both are dead letters", async () => (await letters(auction)).length === 2);
  expect(await letters(auction, "encode(body, 'hex')")).toEqual(["7bff00", "7bff00"]);
  expect(await auction.column("select outbox_id from watermarks where auction_uid = $1")).toEqual([
    before,
  ]);
  // The relay's next publish is refused, since the stream is not where it left it; then all is well.
  await auction.bid(30);
  await auction.expectAllArchived(["foreign", "foreign"]);
  expect(await metric(archival, "gavel_archival_pair_restarts_total", '"publish"')).toBe(1);

  const call = await fence(auction, archival);
  expect((await call("GET", "state")).body.deadLetters).toBe(2);
  expect((await call("POST", "verify")).body).toMatchObject({ ok: true, differences: [] });
  await until("no violation", async () => (await call("GET", "invariants")).status === 200);
});

test("a foreign message survives a restart of archival, and Postgres away before it was read", async () => {
  const { auction, archival } = await startAtWork(servers);
  const bus = await stranger();
  await archival.stop();
  await bus.stream.publish(subjectOf(auction.uid, 0, "lot-1"), garbage);
  const second = await auction.start();
  await until("the first is found", async () => (await letters(auction)).length === 1);

  await servers.postgres.kill();
  await bus.stream.publish(subjectOf(auction.uid, 0, "lot-2"), garbage);
  await second.stop();
  await auction.start();
  await servers.postgres.restart();
  await auction.bid(3);
  await auction.expectAllArchived(["foreign", "foreign"]);
  expect(await letters(auction, "lot_id")).toEqual(["lot-1", "lot-2"]);
});

test("a batch of foreign messages that is written again is stored once", async () => {
  const auction = new AuctionUnderTest(servers);
  await (await auction.start()).stop();
  await auction.archive.query(
    "insert into watermarks (auction_uid, partition, outbox_id) values ($1, 0, '0-0') on conflict do nothing",
    [auction.uid],
  );
  const message = { lotId: "lot-1", outboxId: null, afterId: null, traceparent: null, ack() {} };
  const delivery = { ...message, streamSeq: 7, storedAt: "2026-11-28T18:00:00.1Z", body: garbage };
  const batch = foreignBatch([delivery], "0-0");
  expect((await recordBatch(auction.archive, auction.uid, batch)).letters).toHaveLength(1);
  expect((await recordBatch(auction.archive, auction.uid, batch)).letters).toHaveLength(0);
  expect(await letters(auction)).toEqual(["foreign"]);
  // The same sequence number on a stream that was created again is another message.
  const later = foreignBatch([{ ...delivery, storedAt: "2026-11-28T18:00:01.1Z" }], "0-0");
  expect((await recordBatch(auction.archive, auction.uid, later)).letters).toHaveLength(1);
});

test("a replay that is refused inserts nothing", async () => {
  const { auction, archival } = await startAtWork(servers);
  await auction.smuggle("lot-1", "unreadable");
  await until("it is a dead letter", async () => (await letters(auction)).length === 1);
  const [last] = await auction.column(
    "select body from events where auction_uid = $1 and type = 'bid_accepted' order by seq desc",
  );
  const known = JSON.parse(last!);
  const fresh = encodeEvent({ ...known, seq: known.seq + 1_000_000, bidId: "another" });
  const conflicting = encodeEvent({ ...known, bidderId: "somebody else" });
  await auction.archive.query(
    "update dead_letters set lot_id = $2, body = $3 where auction_uid = $1",
    [auction.uid, known.lotId, Buffer.from([fresh, conflicting].join("\n"))],
  );
  const before = await auction.archived();
  const [id] = await letters(auction, "dead_letter_id::text");
  const call = ownerOf(auction, archival);
  const replayed = await call("POST", `dead-letters/${id}/replay`);
  expect(replayed.body).toMatchObject({
    outcome: "refused",
    detail: expect.stringContaining("another event"),
  });
  expect(await auction.archived()).toEqual(before);
  expect(await letters(auction, "replayed_at")).toEqual([null]);
});

test("a dead letter that can never be archived is discarded, with who, when and why, and blocks nothing any more", async () => {
  const { auction, archival } = await startAtWork(servers);
  await auction.smuggle("lot-1", "unreadable");
  await until("it is a dead letter", async () => (await letters(auction)).length === 1);
  const call = await fence(auction, archival);
  const { differences } = (await call("POST", "verify")).body;
  expect(differences).toEqual(["1 dead letters wait: replay or discard them"]);
  await until("a violation", async () => (await call("GET", "invariants")).status === 503);

  const [id] = await letters(auction, "dead_letter_id::text");
  const discard = (body: object) => call("POST", `dead-letters/${id}/discard`, body);
  expect((await discard({})).body).toMatchObject({ code: "invalid", field: "reason" });
  expect((await discard({ reason: "  " })).body).toMatchObject({
    code: "invalid",
    field: "reason",
  });
  const reason = "written by a test";
  expect((await discard({ reason })).body).toEqual({ outcome: "discarded" });
  expect((await discard({ reason: "again" })).body).toMatchObject({ code: "not_found" });
  expect((await call("POST", `dead-letters/${id}/replay`)).status).toBe(404);

  expect((await call("GET", `dead-letters/${id}`)).body).toMatchObject({
    body: "unreadable",
    replayedAtMs: null,
    discarded: { atMs: expect.any(Number), by: "owner", why: reason },
  });
  expect((await call("GET", "dead-letters?waiting=true")).body.deadLetters).toEqual([]);
  expect((await call("GET", "dead-letters")).body.deadLetters).toHaveLength(1);
  expect((await call("POST", "verify")).body).toMatchObject({ ok: true, differences: [] });
  await until("no violation", async () => (await call("GET", "invariants")).status === 200);
  expect(await metric(archival, "gavel_archival_dead_letters_waiting")).toBe(0);
});
