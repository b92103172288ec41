import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { StreamInfo } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import type { Archival } from "../app.ts";
import { afterFile } from "../../testing/after-file.ts";
import { until } from "../../testing/until.ts";
import { connectBus } from "../../bus/connect.ts";
import { streamNameOf } from "../../bus/subjects.ts";
import { startNats, startNatsCluster } from "../../testing/servers.ts";
import {
  AuctionUnderTest,
  IMPATIENT,
  metric,
  startAtWork,
  startServers,
  stateOf,
  untilRestored,
} from "../../testing/archival.ts";

const servers = await startServers();

const refusedByNats = (archival: Archival): Promise<string> =>
  until("NATS is named", async () => (await stateOf(archival)).refusals.nats);

test("every event reaches Postgres once, in order, byte for byte", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  const bidIds = await auction.bid(300);

  await auction.expectAllArchived();
  const archived = await auction.column("select bid_id from bids where auction_uid = $1");
  expect(archived.toSorted()).toEqual(bidIds.toSorted());
  expect(await metric(archival, "gavel_archival_repeated_events_total")).toBe(0);
});

test("a tier that is replaced in the middle of bidding repeats and loses nothing", async () => {
  const auction = new AuctionUnderTest(servers);
  let archival = await auction.start();
  await auction.open();
  for (let round = 0; round < 4; round++) {
    const bidding = auction.bid(60);
    await archival.stop();
    archival = await auction.start();
    await bidding;
  }
  await auction.expectAllArchived();
});

test("a process that is killed in the middle of a batch repeats and loses nothing", async () => {
  const auction = new AuctionUnderTest(servers);
  let killed = auction.spawn();
  await auction.open();
  for (let round = 0; round < 3; round++) {
    const before = (await auction.archived().catch(() => [])).length;
    const bidding = auction.bid(90);
    await until("it archives", async () => (await auction.archived()).length > before);
    killed.kill("SIGKILL");
    await bidding;
    // Its lease runs out by itself; a test need not wait for that.
    await auction.store.del(auction.keys.lease("relay"));
    killed = auction.spawn();
  }
  await auction.expectAllArchived();
});

test("a process that gets SIGTERM releases its lease and exits with 0", async () => {
  const auction = new AuctionUnderTest(servers);
  const stopped = auction.spawn();
  await auction.open();
  await auction.bid(30);
  await auction.expectAllArchived();
  stopped.kill("SIGTERM");
  const [code] = (await once(stopped, "exit")) as [number | null];
  expect(code).toBe(0);
  expect(await auction.store.exists(auction.keys.lease("relay"))).toBe(0);
});

test("two tiers at once archive everything once", async () => {
  const auction = new AuctionUnderTest(servers);
  const [one] = await Promise.all([auction.start(), auction.start()]);
  await auction.open();
  await auction.bid(60);
  // The lease is taken away in the middle, as if its holder had been stalled.
  await auction.store.del(auction.keys.lease("relay"));
  await auction.bid(60);
  await one.stop();
  await auction.bid(60);
  await auction.expectAllArchived();
});

test("NATS killed and started again loses nothing", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  await auction.bid(60);
  await servers.nats.kill();
  await auction.bid(60);
  await servers.nats.restart();
  await auction.bid(60);
  await auction.expectAllArchived();
  expect(await metric(archival, "gavel_archival_conflicts_total")).toBe(0);
});

test("NATS started again without its data loses nothing", async () => {
  const auction = new AuctionUnderTest(servers);
  await auction.start();
  await auction.open();
  const bidding = auction.bid(150);
  await servers.nats.kill();
  rmSync(join(servers.nats.dir, "jetstream"), { recursive: true });
  await servers.nats.restart();
  await bidding;
  await auction.bid(10);
  await auction.expectAllArchived();
});

let started: ReturnType<typeof startCluster> | null = null;
/** One cluster for the tests of this file that need it. */
const sharedCluster = () => (started ??= startCluster());

async function startCluster() {
  const cluster = await startNatsCluster();
  const nats = cluster[0]!;
  const bus = await until("the cluster has a leader", async () => {
    const connected = await connectBus(() => nats.url, "test");
    const ready = await connected.manager.getAccountInfo().catch(() => null);
    if (ready === null) await connected.connection.close();
    return ready && connected;
  });
  afterFile(() => bus.connection.close());
  const streamOf = async ({ uid }: AuctionUnderTest) => bus.manager.streams.info(streamNameOf(uid));
  const holderOf = ({ cluster: at }: StreamInfo) => cluster[Number(at!.leader!.split("-")[1])]!;
  return { nats, streamOf, holderOf };
}

test("a stream whose server is away is named, and kept until Redis has been restored", async () => {
  const { nats, streamOf, holderOf } = await sharedCluster();
  const { auction, archival } = await startAtWork({ ...servers, nats });
  const before = await streamOf(auction);

  const holder = holderOf(before);
  await holder.kill();
  await auction.wipe();
  const why = await refusedByNats(archival);
  expect(why).toContain(`${streamNameOf(auction.uid)} cannot be read`);
  expect(why).toContain("may be the only copy of acknowledged bids");
  await holder.restart();
  await untilRestored(archival);
  await auction.bid(30);
  await auction.expectAllArchived();
  expect((await streamOf(auction)).created).toBe(before.created);
  expect(await metric(archival, "gavel_archival_streams_given_up_total")).toBe(0);
}, 120_000);

test("a NATS cluster loses a server for good: a stream with 1 replica is given up and created again, one with 3 is kept", async () => {
  const { nats, streamOf, holderOf } = await sharedCluster();
  const single = new AuctionUnderTest({ ...servers, nats });
  const replicated = new AuctionUnderTest({ ...servers, nats });
  const archival = await single.start();
  const three = await replicated.start(IMPATIENT, { NATS_STREAM_REPLICAS: "3" });
  for (const auction of [single, replicated]) {
    await auction.open();
    await auction.bid(30);
    await auction.expectAllArchived();
  }
  const [before, kept] = [await streamOf(single), await streamOf(replicated)];
  expect([before, kept].map(({ config }) => config.num_replicas)).toEqual([1, 3]);

  const holder = holderOf(before);
  await holder.kill();
  rmSync(join(holder.dir, "jetstream"), { recursive: true });
  for (const auction of [single, replicated]) {
    await auction.bid(30);
    await auction.expectAllArchived([], 60_000);
  }
  const after = await streamOf(single);
  expect(after.cluster!.leader).not.toBe(before.cluster!.leader);
  expect(after.created).not.toBe(before.created);
  expect((await streamOf(replicated)).created).toBe(kept.created);
  expect(await metric(archival, "gavel_archival_streams_given_up_total")).toBe(1);
  expect(await metric(three, "gavel_archival_streams_given_up_total")).toBe(0);
}, 120_000);

test("a stream that was sealed is given up and created again", async () => {
  const { auction, archival } = await startAtWork(servers);
  const bus = await connectBus(() => servers.nats.url, "stranger");
  await bus.manager.streams.update(streamNameOf(auction.uid), { sealed: true } as object);
  await auction.bid(30);
  await auction.expectAllArchived();
  expect(await metric(archival, "gavel_archival_conflicts_total")).toBe(0);
  await bus.connection.close();
});

test("a NATS that takes smaller messages than an entry may be is named, until it takes them", async () => {
  const settings = ["max_payload: 65536"];
  const nats = await startNats(settings);
  const auction = new AuctionUnderTest({ ...servers, nats });
  const archival = await auction.start();
  await auction.open();
  await auction.bid(30);
  expect(await refusedByNats(archival)).toBe(
    "max_payload of NATS is 65536 bytes and must be at least 362368: raise it and restart NATS",
  );
  expect(await metric(archival, "gavel_archival_streams_given_up_total")).toBe(0);
  settings[0] = "max_payload: 1048576";
  await nats.restart();
  await auction.expectAllArchived();
});

test("a NATS that hangs is given up on, and loses nothing", async () => {
  const { auction, archival } = await startAtWork(servers);
  servers.nats.signal("SIGSTOP");
  await auction.bid(30);
  const stalled = () => metric(archival, "gavel_archival_pair_restarts_total", '"stalled"');
  await until("the pipeline restarts", async () => (await stalled()) === 1);
  servers.nats.signal("SIGCONT");
  await auction.bid(30);
  await auction.expectAllArchived();
});

test("a stream and an outbox filled many times over are emptied as they go", async () => {
  const auction = new AuctionUnderTest(servers);
  const small = { OUTBOX_MAX_BYTES: String(1024 * 1024) };
  const archival = await auction.start(IMPATIENT, small);
  await auction.open();
  for (let round = 0; round < 6; round++) {
    await auction.bid(9, 200);
    await auction.expectAllArchived();
  }
  const kept = await auction.store.xrange(auction.keys.outbox, "-", "+");
  const keptBytes = kept.reduce((sum, [, fields]) => sum + fields[3]!.length, 0);
  expect(keptBytes).toBeLessThan(700 * 1024);
  expect(await metric(archival, "gavel_archival_stream_full_total")).toBe(0);
});

test("Postgres killed and started again loses nothing, and is never taken for poison", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  await auction.bid(60);
  const bidding = auction.bid(120);
  await servers.postgres.kill();
  await bidding;
  await auction.bid(60);
  expect((await fetch(`${archival.internalUrl}/readyz`)).status).toBe(200);
  await servers.postgres.restart();
  await auction.expectAllArchived();
});

test("Redis killed and started again loses nothing", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  await auction.bid(60);
  await servers.redis.kill();
  await until("it is not ready", async () => {
    return (await fetch(`${archival.internalUrl}/readyz`)).status === 503;
  });
  await servers.redis.restart();
  await until("the store is back", () => auction.store.ping());
  await auction.bid(60);
  await auction.expectAllArchived();
});
