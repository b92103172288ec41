/**
 * Postgres, then NATS, is gone for what would be an hour, at full load: the outbox limit is so small that it
 * is reached in seconds. Bids are then refused, none is dropped, no process grows, and what was
 * acknowledged is archived as soon as the missing one is back.
 */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { Client } from "pg";
import { beforeAll, expect, test } from "vitest";
import type { Store } from "../store/connect.ts";
import { keysOf } from "../store/keys.ts";
import { auctionDefinition, lotDefinition, openStore } from "../testing/auction.ts";
import { type Fleet, startFleet, type Tier, tokenOf } from "../testing/fleet.ts";
import { startNats, startPostgres, startRedis, type TestServer } from "../testing/servers.ts";
import { until } from "../testing/until.ts";
import { connectViewer } from "../testing/viewer.ts";

const LIMIT_BYTES = 1024 * 1024;
const BIDDERS = 16;
/** The longest name and key: the limit is reached with fewer bids. */
const LONGEST = 128;
const EVENT_MAX_BYTES = 700;
/** What is let in just below the limit goes beyond it: a bid of each bidder. */
const OVERSHOOT_BYTES = BIDDERS * EVENT_MAX_BYTES;
/** Between two attempts of a bidder that is refused. */
const REFUSED_PAUSE_MS = 5;
const MEMORY_EVERY_MS = 100;
/** How long it stays full, with all bidders going on. */
const FULL_MS = 2_000;
const RSS_MAX_MB = 400;
const KEPT_MAX_MB = 25;

const definition = auctionDefinition({
  rules: {
    increments: [{ fromMinor: 0, stepMinor: 1 }],
    antiSniping: { windowMs: 0, extensionMs: 0, maxExtensions: 0 },
    maxAmountMinor: 1_000_000_000_000,
    maxJump: 1_000,
    reserveDisclosure: "MetOnly",
  },
  lots: [lotDefinition("lot-1")],
});
let fleet: Fleet;
let store: Store;
const servers: Record<string, TestServer> = {};
beforeAll(async () => {
  const [redis, postgres, nats] = await Promise.all([startRedis(), startPostgres(), startNats()]);
  Object.assign(servers, { postgres, nats });
  fleet = await startFleet({
    redisUrl: redis.url,
    natsUrl: nats.url,
    postgresUrl: postgres.url,
    definition,
    replicas: 1,
    env: { OUTBOX_MAX_BYTES: String(LIMIT_BYTES), LOG_LEVEL: "fatal" },
  });
  store = await openStore(redis.url);
});

const acknowledged = new Set<string>();
let amountMinor = 1_000;

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly body: { bidId?: string; code?: string; detail?: string };
}

function post(agent: Agent, token: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "idempotency-key": randomUUID().padEnd(LONGEST, "-"),
    };
    const url = `${fleet.gatewayUrl}/v1/lots/lot-1/bids`;
    const sent = request(url, { method: "POST", agent, headers, timeout: 5_000 }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => (text += part));
      answer.on("end", () => {
        const retryAfter = answer.headers["retry-after"];
        resolve({ status: answer.statusCode!, retryAfter, body: JSON.parse(text) });
      });
    });
    sent.on("error", reject).on("timeout", () => sent.destroy(new Error("no answer in time")));
    sent.end(JSON.stringify({ amountMinor: (amountMinor += 10) }));
  });
}

/** Places bids as fast as they are answered, until stopped. */
function bidders() {
  const seen = { accepted: 0, tooLow: 0, full: 0, overloaded: 0, other: [] as string[] };
  const agent = new Agent({ keepAlive: true, maxSockets: BIDDERS });
  let over = false;
  const one = async (n: number): Promise<void> => {
    const token = await tokenOf(`bidder-${n}`.padEnd(LONGEST, "-"));
    while (!over) {
      const { status, retryAfter, body } = await post(agent, token);
      if (status === 201) {
        seen.accepted++;
        acknowledged.add(body.bidId!);
      } else if (body.code === "too_low") seen.tooLow++;
      else if (body.code === "unavailable" && body.detail!.includes("store is full")) {
        seen.full++;
        expect([status, retryAfter]).toEqual([503, expect.stringMatching(/^[1-9]$/)]);
        await pause(REFUSED_PAUSE_MS);
      } else if (body.code === "unavailable" && body.detail!.includes("overloaded")) {
        seen.overloaded++;
      } else seen.other.push(`${status} ${body.code} ${body.detail}`);
    }
  };
  const all = Array.from({ length: BIDDERS }, (_, n) => one(n));
  const stop = async (): Promise<void> => {
    over = true;
    await Promise.all(all);
    agent.destroy();
  };
  return { seen, stop };
}

const memberOf = (tier: Tier) => fleet.members.find((member) => member.tier === tier)!;
const pendingBytes = async () =>
  Number(await store.hget(keysOf(definition.uid).auction, "pendingBytes"));
const megabytes = async (tier: Tier, metric: string) =>
  (await memberOf(tier).metric(metric)) / 1024 / 1024;

const TIERS = ["gateway", "broadcast", "archival"] as const;

/** Growth of what is left after a collection: the smallest heap of the last third minus that of the first. */
function keptMegabytes(heap: readonly number[]): number {
  const third = Math.ceil(heap.length / 3);
  return Math.round(Math.min(...heap.slice(-third)) - Math.min(...heap.slice(0, third)));
}

/**
 * The memory of each process, and the most that was ever pending. It watches for `FULL_MS`, and longer while
 * a heap looks grown or bids are accepted: a busy process collects its garbage late, and what archival held
 * when the server went away frees some room. A leak, or a limit that is not kept, stays.
 */
async function watchMemory(acceptedSoFar: () => number) {
  const startedMs = performance.now();
  const accepted: number[] = [];
  const rss: Record<Tier, number[]> = { gateway: [], broadcast: [], archival: [] };
  const heap: Record<Tier, number[]> = { gateway: [], broadcast: [], archival: [] };
  let mostPending = 0;
  await until("no heap looks grown and no bid is accepted", async () => {
    accepted.push(acceptedSoFar());
    for (const tier of TIERS) {
      rss[tier].push(await megabytes(tier, "process_resident_memory_bytes"));
      heap[tier].push(await megabytes(tier, "nodejs_heap_size_used_bytes"));
    }
    mostPending = Math.max(mostPending, await pendingBytes());
    await pause(MEMORY_EVERY_MS);
    const isOver = performance.now() - startedMs > FULL_MS;
    const areRefused = accepted.at(-Math.ceil(accepted.length / 3)) === acceptedSoFar();
    return isOver && areRefused && TIERS.every((tier) => keptMegabytes(heap[tier]) < KEPT_MAX_MB);
  });
  const memory = TIERS.map((tier) => {
    const rssMb = Math.round(Math.max(...rss[tier]));
    return [tier, { rssMb, keptMb: keptMegabytes(heap[tier]) }] as const;
  });
  return { mostPending, memory: Object.fromEntries(memory) };
}

async function archivedBidIds(): Promise<Set<string>> {
  const archive = new Client({ connectionString: servers["postgres"]!.url, query_timeout: 5_000 });
  await archive.connect();
  try {
    const sql = "select bid_id from bids where auction_uid = $1";
    const { rows } = await archive.query<{ bid_id: string }>(sql, [definition.uid]);
    return new Set(rows.map(({ bid_id }) => bid_id));
  } finally {
    await archive.end();
  }
}

async function bidOverSocket(): Promise<Record<string, any>> {
  const viewer = await connectViewer(fleet.streamUrl);
  viewer.send({ type: "authenticate", token: await tokenOf("on-a-socket") });
  const bid = { lotId: "lot-1", amountMinor: (amountMinor += 1_000_000), key: randomUUID() };
  viewer.send({ type: "place_bid", ...bid });
  const result = await viewer.next("bid_result");
  if (result["accepted"]) acknowledged.add(result["bidId"]);
  viewer.close();
  return result;
}

test.for(["postgres", "nats"] as const)(
  "%s is gone: bids are taken up to the limit, then refused, and all that was acknowledged is archived",
  async (missing) => {
    const load = bidders();
    await until("bids flow", () => load.seen.accepted > 300);
    await servers[missing]!.kill();
    await until("the outbox is full", () => load.seen.full > BIDDERS);
    const breaker = () => memberOf("archival").metric("gavel_archival_breaker_state", missing);
    await until("the breaker is open", async () => (await breaker()) > 0);

    const { mostPending, memory } = await watchMemory(() => load.seen.accepted);
    const atLimit = load.seen.accepted;
    const onSocket = await bidOverSocket();
    expect(onSocket["problem"]).toMatchObject({ status: 503, code: "unavailable" });
    expect(onSocket["problem"].detail).toContain("store is full");
    for (const tier of ["gateway", "broadcast"] as const) {
      const { internalPort } = memberOf(tier);
      expect((await fetch(`http://127.0.0.1:${internalPort}/readyz`)).status).toBe(200);
    }
    await load.stop();
    expect(load.seen.accepted).toBe(atLimit);
    expect(load.seen.other).toEqual([]);
    expect(mostPending).toBeGreaterThanOrEqual(LIMIT_BYTES);
    expect(mostPending).toBeLessThan(LIMIT_BYTES + OVERSHOOT_BYTES);

    const events = () => memberOf("archival").metric("gavel_archival_events_total");
    const before = await events();
    await servers[missing]!.restart();
    const backMs = performance.now();
    await until("it goes on", async () => (await events()) > before);
    const beganMs = performance.now();
    await until("all is archived", async () => (await pendingBytes()) === 0);
    const [after, doneMs] = [await events(), performance.now()];
    expect(await archivedBidIds()).toEqual(acknowledged);

    const again = bidders();
    await until("bids are taken again", () => again.seen.accepted > 300);
    await again.stop();
    expect((await bidOverSocket())["accepted"]).toBe(true);
    await until("these are archived, too", async () => (await pendingBytes()) === 0);
    expect(await archivedBidIds()).toEqual(acknowledged);
    await until("the breaker is closed, by its next probe", async () => (await breaker()) === 0);

    const { accepted, tooLow, full, overloaded } = load.seen;
    const catchUp = {
      waitedMs: Math.round(beganMs - backMs),
      events: after - before,
      perSecond: Math.round((after - before) / ((doneMs - beganMs) / 1000)),
    };
    console.log(
      JSON.stringify({ missing, accepted, tooLow, full, overloaded, mostPending, memory, catchUp }),
    );
    for (const { rssMb, keptMb } of Object.values(memory)) {
      expect(rssMb).toBeLessThan(RSS_MAX_MB);
      expect(keptMb).toBeLessThan(KEPT_MAX_MB);
    }
  },
);

test("with NATS hung and archival gone, a restarted gateway is ready and takes bids", async () => {
  const [gateway, archival] = [memberOf("gateway"), memberOf("archival")];
  servers["nats"]!.signal("SIGSTOP");
  try {
    await archival.terminate();
    await gateway.terminate();
    await gateway.start();
    await until("it gets requests", async () => (await fetch(fleet.gatewayUrl)).ok);
    const load = bidders();
    await until("bids flow", () => load.seen.accepted > 100);
    await load.stop();
    expect(load.seen.full + load.seen.other.length).toBe(0);
  } finally {
    servers["nats"]!.signal("SIGCONT");
  }
  await archival.start();
  await until("all is archived", async () => (await pendingBytes()) === 0);
  expect(await archivedBidIds()).toEqual(acknowledged);
});
