/**
 * `make scale`: 1, 2 and 4 gateways, then 1, 2 and 4 broadcasts, as processes of this machine, with bids while
 * viewers are connected. On few cores more processes cannot do more work at a time. Therefore the work per second
 * of CPU is compared, and from it the rate of N processes with a core each is calculated.
 *
 *   node load/scale.ts [--seconds=5] [--rounds=3] [--viewers=400] [--events=100]
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { BATCHER_DEFAULTS, Batcher, scriptStrategy } from "../services/store/batcher.ts";
import { keysOf } from "../services/store/keys.ts";
import { type BenchAuction, LOT_ID, startBenchAuction } from "./bench-auction.ts";
import { median, rowFormat, whole } from "./figures.ts";
import type { HttpResult } from "./http-load.ts";
import { CLIENT_CORE, cpuSecondsOf, type Pinned, PINNING, runPinned } from "./pinned.ts";
import { startTier, type StartedTier } from "./start-tier.ts";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const REPLICAS = [1, 2, 4];
const CONNECTIONS = 96;
const WATCHING = 100;
const rowOf = rowFormat(10, 18);

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    rounds: { type: "string", default: "3" },
    viewers: { type: "string", default: "400" },
    events: { type: "string", default: "100" },
  },
});
const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
const [viewers, events] = [Number(values.viewers), Number(values.events)];

interface Figure {
  /** Per second, by all replicas together. */
  readonly rate: number;
  /** Per second of CPU that the replicas used. */
  readonly perCore: number;
  /** Cores that the replicas used together. */
  readonly cores: number;
}

const cpuOf = (tiers: readonly StartedTier[]) =>
  tiers.reduce((sum, { tier }) => sum + cpuSecondsOf(tier.child.pid!), 0);

const startAll = (auction: BenchAuction, tier: "gateway" | "broadcast", count: number) =>
  Promise.all(Array.from({ length: count }, () => startTier(auction, tier)));

const stopAll = async (all: readonly Pinned[]) => {
  for (const one of all) await one.stop();
};

async function watch(port: number, count: number): Promise<Pinned> {
  const client = runPinned(CLIENT_CORE, "load/viewers.ts");
  client.send({ port, viewers: count, lotId: LOT_ID });
  await client.next();
  return client;
}

/** Bids as fast as N gateways answer, with some viewers connected. */
async function scaleGateways(auction: BenchAuction, count: number): Promise<Figure> {
  const gateways = await startAll(auction, "gateway", count);
  const broadcast = await startTier(auction, "broadcast");
  const watching = await watch(broadcast.port, WATCHING);
  const clients = gateways.map(() => runPinned(CLIENT_CORE, "load/http-load.ts"));
  const tokens = await Promise.all(
    Array.from({ length: CONNECTIONS / count }, (_, n) => auction.token(`bidder-${n}`)),
  );
  const sinceMs = Date.now();
  const run = async (forSeconds: number) => {
    clients.forEach((client, n) => {
      const { port } = gateways[n]!;
      client.send({ port, tokens, lotId: LOT_ID, seconds: forSeconds, rising: true, sinceMs });
    });
    return Promise.all(clients.map((client) => client.next<HttpResult>()));
  };
  await run(1);
  const before = cpuOf(gateways);
  const results = await run(seconds);
  const cpu = cpuOf(gateways) - before;
  const accepted = results.reduce((sum, { byStatus }) => sum + (byStatus["201"] ?? 0), 0);
  const figure = { rate: accepted / seconds, perCore: accepted / cpu, cores: cpu / seconds };
  await stopAll([...clients, watching, ...gateways.map(({ tier }) => tier), broadcast.tier]);
  return figure;
}

/** Events one after the other to all viewers, who are spread over N broadcasts. */
async function scaleBroadcasts(auction: BenchAuction, count: number): Promise<Figure> {
  const broadcasts = await startAll(auction, "broadcast", count);
  const clients: Pinned[] = [];
  for (const { port } of broadcasts) clients.push(await watch(port, viewers / count));
  const batcher = new Batcher(scriptStrategy(auction.store, keysOf(auction.uid)), BATCHER_DEFAULTS);
  const [before, startedMs] = [cpuOf(broadcasts), performance.now()];
  for (let n = 0; n < events; n++) {
    const bidId = `scale-${count}-${++bids}-x`;
    for (const client of clients) {
      client.send({ marker: bidId });
      await client.next();
    }
    const bid = { bidId, bidderId: "scale", key: bidId, amountMinor: (amountMinor += 1_000) };
    const placement = await batcher.place(LOT_ID, bid);
    if (placement.outcome !== "accepted") throw new Error(`a bid was ${placement.outcome}`);
    for (const client of clients) await client.next();
  }
  const took = (performance.now() - startedMs) / 1_000;
  const cpu = cpuOf(broadcasts) - before;
  const frames = events * viewers;
  await stopAll([...clients, ...broadcasts.map(({ tier }) => tier)]);
  return { rate: frames / took, perCore: frames / cpu, cores: cpu / took };
}

let bids = 0;
let amountMinor = 8_000_000_000_000;

async function table(
  title: string,
  unit: string,
  measure: (auction: BenchAuction, count: number) => Promise<Figure>,
): Promise<void> {
  const all = new Map<number, Figure[]>(REPLICAS.map((count) => [count, []]));
  // Interleaved, so that noise affects all of them.
  for (let round = 0; round < rounds; round++) {
    for (const count of REPLICAS) {
      const auction = await startBenchAuction();
      all.get(count)!.push(await measure(auction, count));
      await auction.stop();
    }
  }
  console.log(title);
  console.log(
    rowOf(
      "replicas",
      `${unit}/s here`,
      "cores used",
      `${unit}/s a core`,
      "with own cores",
      "efficiency",
    ),
  );
  const medianOf = (count: number, pick: (figure: Figure) => number) =>
    median(all.get(count)!.map(pick));
  for (const count of REPLICAS) {
    const perCore = medianOf(count, (figure) => figure.perCore);
    const cells = [
      whole(medianOf(count, ({ rate }) => rate)),
      medianOf(count, ({ cores }) => cores).toFixed(2),
      whole(perCore),
      whole(perCore * count),
      (perCore / medianOf(1, (figure) => figure.perCore)).toFixed(2),
    ];
    console.log(rowOf(String(count), ...cells));
  }
  console.log();
}

console.log(`${availableParallelism()} cores in all; ${PINNING}; ${rounds} interleaved rounds\n`);
await table(
  `Gateways: ${CONNECTIONS} connections on one lot, ${WATCHING} viewers watching, closed loop`,
  "bids",
  scaleGateways,
);
await table(
  `Broadcasts: ${viewers} viewers of one lot, ${events} events one after the other`,
  "frames",
  scaleBroadcasts,
);
process.exit(0);
