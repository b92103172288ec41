/**
 * Everything is restarted by SIGTERM, one process after the other, while bids are placed over HTTP and
 * sockets and viewers watch. No bid fails, no viewer misses or repeats an event, and the work of a
 * process that leaves is taken over at once.
 */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:http";
import { Client } from "pg";
import { beforeAll, expect, test } from "vitest";
import { keysOf } from "../store/keys.ts";
import type { Store } from "../store/connect.ts";
import { auctionDefinition, lotDefinition, openStore } from "../testing/auction.ts";
import { type Fleet, type Member, startFleet, tokenOf } from "../testing/fleet.ts";
import { startNats, startPostgres, startRedis, type TestServer } from "../testing/servers.ts";
import { withMargin } from "../testing/margin.ts";
import { until } from "../testing/until.ts";
import { connectViewer, type TestViewer } from "../testing/viewer.ts";

const LOTS = ["lot-1", "lot-2"];
const HTTP_BIDDERS = 8;
const SOCKET_BIDDERS = 4;
const VIEWERS = 12;
/** No promise: a bid that is not answered by then never will be. */
const ANSWER_MS = 20_000;
/** All restarts, one after the other. */
const RUN_MS = 300_000;

const definition = auctionDefinition({ lots: LOTS.map((lotId) => lotDefinition(lotId)) });
let fleet: Fleet;
let store: Store;
let postgres: TestServer;
beforeAll(async () => {
  const redis = await startRedis();
  postgres = await startPostgres();
  fleet = await startFleet({
    redisUrl: redis.url,
    natsUrl: (await startNats()).url,
    postgresUrl: postgres.url,
    definition,
    replicas: 2,
    env: { DRAIN_NOTICE_MS: "300", DRAIN_MS: "2000" },
  });
  store = await openStore(redis.url);
});

let over = false;
const failed: string[] = [];
const acknowledged = new Map<string, string>();
const counts = { busy: 0, http: 0, socket: 0, tooLow: 0, idleClosed: 0, restarting: 0, resumed: 0 };
let amountMinor = 1_000;
const nextBid = () => {
  const lotId = LOTS[Math.floor(Math.random() * LOTS.length)]!;
  return { lotId, key: randomUUID(), amountMinor: (amountMinor += 500) };
};
type Bid = ReturnType<typeof nextBid>;

interface HttpAnswer {
  readonly status: number;
  readonly body: { bidId?: string; code?: string; detail?: string };
}

/** What a machine with too few processors answers, restarts or not: nothing was decided. */
const isBusy = (detail = "") => /overloaded|waited too long/.test(detail);

/** What a closed idle connection does to the request that met it half-way is told apart. */
function post(agent: Agent, token: string, bid: Bid): Promise<HttpAnswer | "idle connection"> {
  return new Promise((resolve, reject) => {
    const url = `${fleet.gatewayUrl}/v1/lots/${bid.lotId}/bids`;
    const headers = {
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "idempotency-key": bid.key,
    };
    const sent = request(url, { method: "POST", agent, headers, timeout: ANSWER_MS }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part) => (text += part));
      answer.on("error", reject);
      answer.on("end", () => resolve({ status: answer.statusCode!, body: JSON.parse(text) }));
    });
    sent.on("error", (error: Error & { code?: string }) => {
      if (sent.reusedSocket && error.code === "ECONNRESET") resolve("idle connection");
      else reject(error);
    });
    sent.on("timeout", () => sent.destroy(new Error("no answer in time")));
    sent.end(JSON.stringify({ amountMinor: bid.amountMinor }));
  });
}

async function httpBidder(n: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const token = await tokenOf(`http-${n}`);
  while (!over) {
    const bid = nextBid();
    for (let answer; ;) {
      try {
        answer = await post(agent, token, bid);
      } catch (error) {
        failed.push(`http: ${String(error)}`);
        break;
      }
      if (answer === "idle connection") {
        counts.idleClosed++;
        continue;
      }
      const { status, body } = answer;
      if (isBusy(body.detail)) {
        counts.busy++;
        continue;
      }
      if (status === 201) acknowledged.set(body.bidId!, bid.key);
      else if (body.code === "too_low") counts.tooLow++;
      else failed.push(`http: ${status} ${body.code} ${body.detail}`);
      counts.http++;
      break;
    }
  }
  agent.destroy();
}

/** Waits as told by a 1012, and for anything else has failed. */
async function waitToReconnect(who: string, viewer: TestViewer): Promise<void> {
  const { code, reason } = await viewer.closed;
  if (code !== 1012) return void failed.push(`${who}: closed with ${code} ${reason}`);
  counts.restarting++;
  const { retryAfterMs } = JSON.parse(reason) as { retryAfterMs: number };
  await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
}

async function socketBidder(n: number): Promise<void> {
  const token = await tokenOf(`socket-${n}`);
  let bid = nextBid();
  while (!over) {
    const viewer = await connectViewer(fleet.streamUrl);
    viewer.send({ type: "authenticate", token });
    let gone = false;
    const closed = viewer.closed.then(() => (gone = true));
    while (!over && !gone) {
      viewer.send({ type: "place_bid", ...bid });
      const { key } = bid;
      const answerOf = () => viewer.frames.findLast((frame) => frame["key"] === key);
      await Promise.race([until("it is answered", answerOf, ANSWER_MS).catch(() => null), closed]);
      const answer = answerOf();
      // Without an answer at a 1012 it was not taken: the same bid again, elsewhere.
      if (!answer && gone) break;
      counts.socket++;
      if (answer?.["accepted"]) acknowledged.set(answer["bidId"], key);
      else if (answer?.["problem"].code === "too_low") counts.tooLow++;
      else if (isBusy(answer?.["problem"].detail)) counts.busy++;
      else failed.push(`socket ${n}: ${answer?.["problem"].detail ?? "no answer"}`);
      bid = nextBid();
    }
    if (over) viewer.close();
    else await waitToReconnect(`socket ${n}`, viewer);
  }
}

/** Every event of a lot that it was sent, up to the last one, once that is known. */
async function watcher(n: number, lotId: string, last: () => number | null): Promise<number[]> {
  const seqs: number[] = [];
  for (let since = { epoch: 1, seq: 0 }; ;) {
    const viewer = await connectViewer(fleet.streamUrl);
    viewer.send({ type: "subscribe", lots: [lotId], since: { [lotId]: since } });
    let gone = false;
    void viewer.closed.then(() => (gone = true));
    const sawAll = () => last() !== null && (viewer.frames.at(-1)?.["seq"] ?? 0) >= last()!;
    const refused = () => viewer.frames.some(({ type }) => type === "error");
    await until(`viewer ${n} has seen all`, () => gone || sawAll() || refused(), RUN_MS);
    for (const frame of viewer.frames) {
      if (frame.type === "error") {
        failed.push(`viewer ${n}: ${JSON.stringify(frame)}`);
        return seqs;
      }
      if (frame.type !== "snapshot") seqs.push(frame["seq"]);
      else if (frame["recovered"] !== true) failed.push(`viewer ${n}: not recovered`);
      else counts.resumed++;
      since = { epoch: frame["epoch"], seq: frame["seq"] };
    }
    if (sawAll()) {
      viewer.close();
      return seqs;
    }
    await waitToReconnect(`viewer ${n}`, viewer);
  }
}

const holderOf = async (work: "clock" | "relay") =>
  (await store.get(keysOf(definition.uid).lease(work))) ?? "";

/** @returns the names of the work that it held, each with how long until another had it */
async function restart(member: Member): Promise<{ work: string; tookMs: number }[]> {
  const pid = `-${member.pid}-`;
  const held: ("clock" | "relay")[] = [];
  for (const work of ["clock", "relay"] as const) {
    if ((await holderOf(work)).includes(pid)) held.push(work);
  }
  const startedMs = performance.now();
  const exiting = member.terminate();
  const handed = held.map(async (work) => {
    const another = async () => {
      const holder = await holderOf(work);
      return holder !== "" && !holder.includes(pid);
    };
    await until(`another has the ${work} of ${pid}`, another);
    return { work, tookMs: performance.now() - startedMs };
  });
  const took = await Promise.all(handed);
  expect([member.tier, await exiting]).toEqual([member.tier, 0]);
  // It gave up what it held: a lease that nobody gives up lasts for 3.75 s at least.
  for (const work of held) expect(await holderOf(work)).not.toContain(pid);
  await member.start();
  return took;
}

async function queryArchive<Row>(sql: string, values: unknown[]): Promise<Row[]> {
  const archive = new Client({ connectionString: postgres.url, query_timeout: 5_000 });
  await archive.connect();
  try {
    return (await archive.query(sql, values)).rows as Row[];
  } finally {
    await archive.end();
  }
}

const name = "all six processes are restarted under load: no bid fails, no event is missed";
test(name, { timeout: RUN_MS }, async () => {
  const tails = new Map<string, number>();
  const bidders = [
    ...Array.from({ length: HTTP_BIDDERS }, (_, n) => httpBidder(n)),
    ...Array.from({ length: SOCKET_BIDDERS }, (_, n) => socketBidder(n)),
  ];
  const viewers = Array.from({ length: VIEWERS }, (_, n) => {
    const lotId = LOTS[n % LOTS.length]!;
    return watcher(n, lotId, () => tails.get(lotId) ?? null).then((seqs) => ({ lotId, seqs }));
  });
  await until("bids flow", () => counts.http > 50 && counts.socket > 20);

  const handed: { work: string; tookMs: number }[] = [];
  for (const member of fleet.members) handed.push(...(await restart(member)));
  over = true;
  await Promise.all(bidders);
  for (const lotId of LOTS) {
    const [row] = await until("the archive has it all", async () => {
      const last = Number(await store.hget(keysOf(definition.uid).lot(lotId).lot, "seq"));
      const rows = await queryArchive<{ seq: number }>(
        "select max(seq)::int as seq from events where auction_uid = $1 and lot_id = $2",
        [definition.uid, lotId],
      );
      return rows[0]!.seq === last ? rows : null;
    });
    tails.set(lotId, row!.seq);
  }
  const watched = await Promise.all(viewers);
  console.log(JSON.stringify({ ...counts, acknowledged: acknowledged.size, failed, handed }));
  expect(failed).toEqual([]);
  for (const { lotId, seqs } of watched) {
    expect(seqs).toEqual(Array.from({ length: tails.get(lotId)! }, (_, i) => i + 1));
  }
  const archived = await queryArchive<{ bid_id: string; idempotency_key: string }>(
    "select bid_id, idempotency_key from bids where auction_uid = $1",
    [definition.uid],
  );
  expect(new Map(archived.map((row) => [row.bid_id, row.idempotency_key]))).toEqual(acknowledged);
  // Both were held by somebody, and each holder was restarted once.
  expect(new Set(handed.map(({ work }) => work))).toEqual(new Set(["clock", "relay"]));
  expect(Math.max(...handed.map(({ tookMs }) => tookMs))).toBeLessThan(withMargin(3_000));
  expect(counts.restarting).toBeGreaterThan(VIEWERS / 2);
  expect(counts.idleClosed).toBeLessThan(3);
});
