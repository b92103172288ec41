/**
 * `make scale`: 1, 2 and 4 gateways, then 1, 2 and 4 broadcasts, as processes of this machine under mixed
 * load: bids while viewers watch. On few cores more processes cannot do more at a time, so what is compared is
 * what each does with the CPU that it used: the rate that N of them reach where each has a core of its own.
 *
 *   node load/scale.ts [--seconds=5] [--rounds=3] [--viewers=400] [--events=100]
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { BATCHER_DEFAULTS, Batcher, scriptStrategy } from "../services/store/batcher.ts";
import { keysOf } from "../services/store/keys.ts";
import { type BenchSale, LOT_ID, startBenchSale } from "./bench-sale.ts";
import type { HttpResult } from "./http-load.ts";
import { CLIENT_CORE, cpuSecondsOf, type Pinned, PINNING, runPinned } from "./pinned.ts";
import { startTier, type StartedTier } from "./start-tier.ts";

const REPLICAS = [1, 2, 4];
const CONNECTIONS = 96;
const WATCHING = 100;

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
  /** A second, of all replicas. */
  readonly rate: number;
  /** For each second of CPU that the replicas used. */
  readonly perCore: number;
  /** Cores that the replicas used, all together. */
  readonly cores: number;
}

const cpuOf = (tiers: readonly StartedTier[]) =>
  tiers.reduce((sum, { tier }) => sum + cpuSecondsOf(tier.child.pid!), 0);

const startAll = (sale: BenchSale, tier: "gateway" | "broadcast", count: number) =>
  Promise.all(Array.from({ length: count }, () => startTier(sale, tier)));

const stopAll = async (all: readonly Pinned[]) => {
  for (const one of all) await one.stop();
};

async function watch(port: number, count: number): Promise<Pinned> {
  const client = runPinned(CLIENT_CORE, "load/viewers.ts");
  client.send({ port, viewers: count, lotId: LOT_ID });
  await client.next();
  return client;
}

/** Bids as fast as N gateways answer, with some viewers watching all of them. */
async function scaleGateways(sale: BenchSale, count: number): Promise<Figure> {
  const gateways = await startAll(sale, "gateway", count);
  const broadcast = await startTier(sale, "broadcast");
  const watching = await watch(broadcast.port, WATCHING);
  const clients = gateways.map(() => runPinned(CLIENT_CORE, "load/http-load.ts"));
  const tokens = await Promise.all(
    Array.from({ length: CONNECTIONS / count }, (_, n) => sale.token(`bidder-${n}`)),
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

/** One event after the other to all viewers, who are spread over N broadcasts. */
async function scaleBroadcasts(sale: BenchSale, count: number): Promise<Figure> {
  const broadcasts = await startAll(sale, "broadcast", count);
  const clients: Pinned[] = [];
  for (const { port } of broadcasts) clients.push(await watch(port, viewers / count));
  const batcher = new Batcher(scriptStrategy(sale.store, keysOf(sale.uid)), BATCHER_DEFAULTS);
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

const median = (all: readonly number[]) =>
  all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!;

async function table(
  title: string,
  unit: string,
  measure: (sale: BenchSale, count: number) => Promise<Figure>,
): Promise<void> {
  const all = new Map<number, Figure[]>(REPLICAS.map((count) => [count, []]));
  // Interleaved, so that a noisy minute hits all of them.
  for (let round = 0; round < rounds; round++) {
    for (const count of REPLICAS) {
      const sale = await startBenchSale();
      all.get(count)!.push(await measure(sale, count));
      await sale.stop();
    }
  }
  console.log(title);
  console.log(
    `${"replicas".padEnd(10)}${[`${unit}/s here`, "cores used", `${unit}/s a core`, `with own cores`, "efficiency"].map((c) => c.padStart(18)).join("")}`,
  );
  const of = (count: number, pick: (figure: Figure) => number) => median(all.get(count)!.map(pick));
  const whole = (value: number) => Math.round(value).toLocaleString("en");
  for (const count of REPLICAS) {
    const perCore = of(count, (figure) => figure.perCore);
    const cells = [
      whole(of(count, ({ rate }) => rate)),
      of(count, ({ cores }) => cores).toFixed(2),
      whole(perCore),
      whole(perCore * count),
      (perCore / of(1, (figure) => figure.perCore)).toFixed(2),
    ];
    console.log(`${String(count).padEnd(10)}${cells.map((cell) => cell.padStart(18)).join("")}`);
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
