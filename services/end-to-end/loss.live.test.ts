/**
 * What may be lost, exactly: each loss of docs/survival.md happens to a running auction under load, and
 * every acknowledged bid is looked for in the archive afterwards. Each test prints its row.
 */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { findProgram } from "../../servers/find-program.ts";
import { connectBus } from "../bus/connect.ts";
import { readStream } from "../bus/read-stream.ts";
import { decodeEvents } from "../lot/events.ts";
import { keysOf } from "../store/keys.ts";
import { lotDefinition } from "../testing/auction.ts";
import {
  type Acknowledged,
  BidLoad,
  countLowered,
  findMissing,
  queryArchive,
  watchLot,
} from "../testing/load.ts";
import { readMetric } from "../testing/metrics.ts";
import { type RunningAuction, startAuction } from "../testing/running-auction.ts";
import { startNats, startPostgres, startRedis, type TestServer } from "../testing/servers.ts";
import { until } from "../testing/until.ts";

const rows: string[] = [];
afterAll(() => console.log(["what happens: what is lost", ...rows].join("\n  ")));

const LOT = "lot-1";
const [nats, postgres] = await Promise.all([startNats(), startPostgres()]);

/** An auction with a Redis of its own, which the tests replace, on the NATS and Postgres of this file. */
async function start(env: NodeJS.ProcessEnv = {}): Promise<RunningAuction> {
  const lots = [lotDefinition(LOT), lotDefinition("lot-2")];
  const auction = await startAuction({ lots }, env, { nats, postgres });
  onTestFinished(() => auction.stop());
  return auction;
}

const restores = (auction: RunningAuction) =>
  readMetric(auction.archivalUrl, "gavel_archival_restores_total");
const regressions = (auction: RunningAuction) =>
  readMetric(auction.archivalUrl, "gavel_archival_regressions_total");

/** No lot's seq comes twice, and within an epoch none is missing. */
async function expectOrder(auction: RunningAuction): Promise<void> {
  const gaps = await queryArchive(
    auction,
    `select lot_id, epoch, seq from (
       select lot_id, epoch, seq, lag(seq) over (partition by lot_id order by epoch, seq) as before,
         lag(epoch) over (partition by lot_id order by epoch, seq) as epoch_before
       from events where auction_uid = $1) as e
     where seq <= before or (epoch = epoch_before and seq <> before + 1)`,
  );
  expect(gaps).toEqual([]);
  const letters = "select reason, detail from dead_letters where auction_uid = $1";
  expect(await queryArchive(auction, letters)).toEqual([]);
}

/** A replica of the auction's Redis that follows it closely. */
async function follow(auction: RunningAuction): Promise<{ server: TestServer; client: Redis }> {
  const server = await startRedis();
  onTestFinished(() => server.kill());
  const client = new Redis(server.url, { maxRetriesPerRequest: 0 });
  client.on("error", () => {});
  await client.replicaof("127.0.0.1", new URL(auction.redisUrl).port);
  await until("the replica follows", async () => {
    return (await client.info("replication")).includes("master_link_status:up");
  });
  // It says so before its master counts it among those that WAIT asks.
  const master = new Redis(auction.redisUrl);
  await until("its master counts it", async () => {
    return (await master.info("replication")).includes("state=online");
  }).finally(() => master.disconnect());
  return { server, client };
}

/** Ends the replication. @returns the lot's last position that the replica has */
async function cutOff(auction: RunningAuction, replica: Redis): Promise<number> {
  await replica.replicaof("NO", "ONE");
  return Number(await replica.hget(keysOf(auction.uid).lot(LOT).lot, "seq"));
}

/** The replica answers at the address of the master, which is dead. */
async function promote(auction: RunningAuction, replica: Redis): Promise<void> {
  await replica.replicaof("NO", "ONE");
  await replica.config("SET", "port", new URL(auction.redisUrl).port);
  replica.disconnect();
}

/** The last position of the lot, in its first epoch, that NATS has. */
async function readRelayedSeq(auction: RunningAuction): Promise<number> {
  const bus = await connectBus(() => auction.natsUrl, "loss-test");
  try {
    let last = 0;
    for await (const deliveries of readStream(bus, auction.uid)) {
      for (const { lotId, body } of deliveries) {
        if (lotId !== LOT) continue;
        for (const { epoch, seq } of decodeEvents(Buffer.from(body).toString())) {
          if (epoch === 1) last = Math.max(last, seq);
        }
      }
    }
    return last;
  } finally {
    await bus.connection.close();
  }
}

/** Waits until the relay has copied every bid acknowledged so far. */
async function untilRelayed(auction: RunningAuction, load: BidLoad): Promise<void> {
  const { seq } = load.acknowledged.at(-1)!;
  await until("the bids are relayed", async () => (await readRelayedSeq(auction)) >= seq);
}

/** The last position of the lot, in its first epoch, that the viewer was shown. */
function shownSeqOf({ viewer }: Awaited<ReturnType<typeof watchLot>>): number {
  const shown = viewer.frames.filter((frame) => frame["lotId"] === LOT && frame["epoch"] === 1);
  return Math.max(...shown.map((frame) => frame["seq"] as number));
}

/**
 * What is lost was acknowledged by the store that died, and nobody had a copy of it: it comes after the last
 * position that was copied, and after every bid that was kept.
 */
function expectOnlyTheTail(
  missing: readonly Acknowledged[],
  all: readonly Acknowledged[],
  copiedSeq: number,
): void {
  const kept = all.filter((bid) => bid.epoch === 1 && !missing.includes(bid));
  const lastKept = Math.max(copiedSeq, ...kept.map(({ seq }) => seq));
  expect(missing.filter(({ epoch, seq }) => epoch > 1 || seq <= lastKept)).toEqual([]);
}

test("Redis's volume is destroyed: it is put back by itself, and a viewer sees no amount go back", async () => {
  const auction = await start();
  const watching = await watchLot(auction, LOT);
  const load = new BidLoad(auction, LOT);
  await load.more(200);
  await untilRelayed(auction, load);
  await auction.parts.redis.kill();
  const atRisk = await readMetric(auction.archivalUrl, "gavel_archival_relay_lag_seconds");
  const relayedSeq = await readRelayedSeq(auction);
  rmSync(auction.parts.redis.dir, { recursive: true });
  await auction.parts.redis.restart();
  const emptyAtMs = performance.now();
  await until("it is put back", async () => (await restores(auction)) === 1);
  const tookMs = Math.round(performance.now() - emptyAtMs);
  await load.more(100);
  await load.stop();

  const missing = await findMissing(auction, load.acknowledged);
  rows.push(
    `Redis's volume destroyed, NATS up: ${missing.length} of ${load.acknowledged.length} ` +
      `(unrelayed at the last look: ${atRisk * 1000} ms); back after ${tookMs} ms`,
  );
  expectOnlyTheTail(missing, load.acknowledged, relayedSeq);
  const last = load.acknowledged.at(-1)!;
  expect(last.epoch).toBe(2);
  await until("the viewer is shown the last", () =>
    watching.shown().leadingMinor.includes(last.amountMinor),
  );
  expect(watching.shown().lossesShown).toBeGreaterThan(0);
  expect(countLowered(watching.shown())).toBe(0);
  await expectOrder(auction);
});

test("a lagging replica takes over: it is seen, what it lacks is put back, and no amount goes back", async () => {
  const auction = await start();
  const replica = await follow(auction);
  const watching = await watchLot(auction, LOT);
  const load = new BidLoad(auction, LOT);
  await load.more(100);
  await cutOff(auction, replica.client); // from here on it lags
  const lagsFrom = load.acknowledged.length;
  await load.more(150);
  const lagging = load.acknowledged.length - lagsFrom;
  await untilRelayed(auction, load);
  await auction.parts.redis.kill();
  const relayedSeq = await readRelayedSeq(auction);
  await promote(auction, replica.client);
  const promotedAtMs = performance.now();
  await until("it is put back", async () => (await regressions(auction)) === 1);
  const tookMs = Math.round(performance.now() - promotedAtMs);
  await load.more(100);
  await load.stop();

  const missing = await findMissing(auction, load.acknowledged);
  rows.push(
    `failover to a replica ${lagging} bids behind, NATS up: ${missing.length} of ` +
      `${load.acknowledged.length}; seen and put back after ${tookMs} ms`,
  );
  expectOnlyTheTail(missing, load.acknowledged, relayedSeq);
  const last = load.acknowledged.at(-1)!;
  expect(last.epoch).toBe(2);
  await until("the viewer is shown the last", () =>
    watching.shown().leadingMinor.includes(last.amountMinor),
  );
  expect(countLowered(watching.shown())).toBe(0);
  expect([...watching.shown().epochs]).toEqual([1, 2]);
  await expectOrder(auction);
});

test("Postgres is put back to an older dump under load: it is filled again from the outbox", async () => {
  const auction = await start();
  const load = new BidLoad(auction, LOT);
  await load.more(100);
  const dump = join(auction.parts.postgres.dir, "older.dump");
  const pg = (program: string, ...args: string[]) =>
    promisify(execFile)(findProgram(program)!, [...args, `--dbname=${auction.postgresUrl}`]);
  await pg("pg_dump", "--format=custom", `--file=${dump}`);
  await load.more(200);
  const bids = "select count(*)::int as bids from bids where auction_uid = $1";
  const [before] = await queryArchive<{ bids: number }>(auction, bids);
  // It takes every table for itself, in an order of its own, while archival writes: one of them may be told
  // of a deadlock, and then has changed nothing.
  await until("it is put back", async () => {
    await pg("pg_restore", "--clean", "--if-exists", "--single-transaction", dump);
    return true;
  });
  await load.more(100);
  await load.stop();
  const missing = await findMissing(auction, load.acknowledged);
  rows.push(
    `Postgres put back to an older dump (it had ${before!.bids} bids): ${missing.length} of ` +
      `${load.acknowledged.length}`,
  );
  expect(missing).toEqual([]);
  expect(load.acknowledged.at(-1)!.epoch).toBe(1);
  await expectOrder(auction);
});

test.for(["redis", "gateway", "nats", "postgres"] as const)(
  "%s is killed under load and comes back, NATS without its data: nothing is lost",
  async (part) => {
    const auction = await start();
    const load = new BidLoad(auction, LOT);
    await load.more(100);
    await auction.parts[part].kill();
    if (part === "nats") rmSync(join(auction.parts.nats.dir, "jetstream"), { recursive: true });
    await auction.parts[part].restart();
    await load.more(100);
    await load.stop();
    const missing = await findMissing(auction, load.acknowledged);
    const what = part === "nats" ? "nats killed, its data wiped" : `${part} killed`;
    rows.push(`${what}: ${missing.length} of ${load.acknowledged.length}`);
    expect(missing).toEqual([]);
    expect(load.acknowledged.at(-1)!.epoch).toBe(1);
    await expectOrder(auction);
  },
);

test("NATS is away while a lagging replica takes over: what viewers were shown is put back by those who showed it", async () => {
  const auction = await start();
  const replica = await follow(auction);
  const watching = await watchLot(auction, LOT);
  const load = new BidLoad(auction, LOT);
  await load.more(50);
  await auction.parts.nats.kill();
  await cutOff(auction, replica.client);
  await load.more(100);
  const { seq } = load.acknowledged.at(-1)!;
  await until("the viewer is shown them", () => shownSeqOf(watching) >= seq);
  const unrelayed = await until("the window is exported", async () => {
    const events = await readMetric(auction.archivalUrl, "gavel_archival_unrelayed_events");
    return events >= 100 && events;
  });
  await auction.parts.redis.kill();
  const shownSeq = shownSeqOf(watching);
  await promote(auction, replica.client);
  await auction.parts.nats.restart();
  await load.more(50);
  await load.stop();
  const missing = await findMissing(auction, load.acknowledged);
  rows.push(
    `failover to a lagging replica, NATS away, broadcast up: ${missing.length} of ` +
      `${load.acknowledged.length} (${unrelayed} unrelayed at the last look)`,
  );
  expectOnlyTheTail(missing, load.acknowledged, shownSeq);
  const shownMinor = new Set(watching.shown().leadingMinor);
  expect(missing.filter(({ amountMinor }) => shownMinor.has(amountMinor))).toEqual([]);
  expect(countLowered(watching.shown())).toBe(0);
  expect(await regressions(auction)).toBe(1);
  await expectOrder(auction);
});

test("NATS and every broadcast are away while a lagging replica takes over: what nobody else has is lost, and seen", async () => {
  const auction = await start();
  const replica = await follow(auction);
  const load = new BidLoad(auction, LOT);
  await load.more(50);
  await Promise.all([auction.parts.nats.kill(), auction.parts.broadcast.kill()]);
  const copiedSeq = await cutOff(auction, replica.client);
  await load.more(60);
  await auction.parts.redis.kill();
  await promote(auction, replica.client);
  await Promise.all([auction.parts.nats.restart(), auction.parts.broadcast.restart()]);
  await load.more(50);
  await load.stop();
  const missing = await findMissing(auction, load.acknowledged);
  // By the old master, to its last moment: the next one raised the epoch.
  const uncopied = load.acknowledged.filter(({ epoch, seq }) => epoch === 1 && seq > copiedSeq);
  rows.push(
    `failover to a lagging replica, NATS and all broadcasts away: ${missing.length} of ` +
      `${load.acknowledged.length}, ${uncopied.length} acknowledged since the link broke`,
  );
  expect(missing.length).toBeGreaterThan(0);
  expect(missing.filter((bid) => !uncopied.includes(bid))).toEqual([]);
  // Never silent: the gateway knew of a later event.
  expect(await regressions(auction)).toBe(1);
  expect(load.acknowledged.at(-1)!.epoch).toBe(2);
});

test("with durability replica a master is killed and its replica takes over: nothing is lost", async () => {
  const auction = await start({ BID_DURABILITY: "replica" });
  const replica = await follow(auction);
  const load = new BidLoad(auction, LOT);
  await load.more(150);
  await auction.parts.nats.kill(); // so that nothing but the replica can have it
  await load.more(50);
  await auction.parts.redis.kill();
  await promote(auction, replica.client);
  // It is alone now: nothing is acknowledged, and nothing rejected for it, until it has a replica.
  const alone = load.acknowledged.length;
  const next = await startRedis();
  onTestFinished(() => next.kill());
  const client = new Redis(next.url);
  await until("the store is back", async () => {
    const response = await fetch(`${auction.gatewayUrl}/v1/lots/${LOT}`);
    return response.ok;
  });
  await auction.parts.nats.restart();
  await client.replicaof("127.0.0.1", new URL(auction.redisUrl).port);
  await load.more(50);
  await load.stop();
  client.disconnect();
  const missing = await findMissing(auction, load.acknowledged);
  rows.push(
    `master killed, replica takes over, durability replica, NATS away: ${missing.length} of ` +
      `${load.acknowledged.length} (${alone} before)`,
  );
  expect(missing).toEqual([]);
  await expectOrder(auction);
});

test("with durability replica and no replica a bid is unknown, and its key tells once there is one", async () => {
  const auction = await start({ BID_DURABILITY: "replica" });
  const token = await auction.token("ada");
  const place = async () => {
    const response = await fetch(`${auction.gatewayUrl}/v1/lots/${LOT}/bids`, {
      method: "POST",
      body: JSON.stringify({ amountMinor: 5_000 }),
      headers: {
        "content-type": "application/json",
        "idempotency-key": "once",
        authorization: `Bearer ${token}`,
      },
    });
    return { status: response.status, body: (await response.json()) as { code?: string } };
  };
  // A busy machine may refuse it before anything was decided.
  await until("it is unknown", async () => (await place()).body.code === "unknown");
  const replica = await follow(auction);
  await until("its key tells", async () => (await place()).status === 201);
  replica.server.signal("SIGSTOP");
  await until("it is unknown again", async () => (await place()).body.code === "unknown");
  replica.server.signal("SIGCONT");
  await until("the replica answers again", async () => (await place()).status === 201);
  replica.client.disconnect();
});
