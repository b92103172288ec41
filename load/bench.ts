/**
 * `make bench`: the cost of a bid and of a viewer, compared with a floor (the same work without Gavel) in one run.
 *
 *   node load/bench.ts [--seconds=4] [--rounds=3] [--viewers=2000] [--events=60] [--no-k6]
 *
 * Absolute figures depend on the machine and the moment. Quote only the ratios.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { findProgram } from "../servers/find-program.ts";
import { BATCHER_DEFAULTS, Batcher, scriptStrategy } from "../services/store/batcher.ts";
import { keysOf } from "../services/store/keys.ts";
import { type BenchAuction, LOT_ID, startBenchAuction } from "./bench-auction.ts";
import { median, quantile, rowFormat, whole } from "./figures.ts";
import type { HttpResult } from "./http-load.ts";
import {
  CLIENT_CORE,
  cpuSecondsOf,
  type Pinned,
  PINNING,
  runPinned,
  SERVER_CORE,
} from "./pinned.ts";
import { startTier } from "./start-tier.ts";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const CONNECTIONS = 100;
const rowOf = rowFormat(34, 12);

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    viewers: { type: "string", default: "2000" },
    events: { type: "string", default: "60" },
    "no-k6": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(
    "usage: node load/bench.ts [--seconds=4] [--rounds=3] [--viewers=2000] [--events=60] [--no-k6]",
  );
  process.exit(0);
}
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

const auction = await startBenchAuction();
try {
  console.log(`${PINNING}; appendfsync always; ${rounds} interleaved rounds\n`);
  await benchBids(auction);
  await benchFanOut(auction);
  if (!values["no-k6"]) await runK6(auction);
} finally {
  await auction.stop();
}
process.exit(0);

async function benchBids(auction: BenchAuction): Promise<void> {
  const floor = runPinned(SERVER_CORE, "load/floor-http.ts");
  const { port: floorPort } = await floor.next<{ port: number }>();
  const script = await startTier(auction, "gateway", { BID_STRATEGY: "script" });
  const optimistic = await startTier(auction, "gateway", { BID_STRATEGY: "optimistic" });
  const client = runPinned(CLIENT_CORE, "load/http-load.ts");
  const tokens = await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, i) => auction.token(`bidder-${i}`)),
  );
  const run = (port: number, rising: boolean, forSeconds = seconds): Promise<HttpResult> => {
    client.send({ port, tokens, lotId: LOT_ID, seconds: forSeconds, rising });
    return client.next<HttpResult>();
  };

  const lane = (name: string, port: number, { child }: Pinned, rising: boolean) => {
    return { name, port, pid: child.pid!, rising, results: [] as HttpResult[], cpuMicros: [0] };
  };
  const lanes = [
    lane("fastify no-op route (floor)", floorPort, floor, true),
    lane("gateway, bids too low", script.port, script.tier, false),
    lane("gateway, bids accepted", script.port, script.tier, true),
    lane("gateway, optimistic, accepted", optimistic.port, optimistic.tier, true),
  ];
  for (const { port, rising } of lanes) await run(port, rising, 1);
  for (const one of lanes) one.cpuMicros = [];
  for (let round = 0; round < rounds; round++) {
    for (const { port, pid, rising, results, cpuMicros } of lanes) {
      const before = cpuSecondsOf(pid);
      const result = await run(port, rising);
      results.push(result);
      cpuMicros.push(((cpuSecondsOf(pid) - before) * 1e6) / result.answered);
    }
  }

  printContention(lanes);
  console.log();
  for (const process of [client, floor, script.tier, optimistic.tier]) await process.stop();
}

interface Lane {
  readonly name: string;
  readonly results: readonly HttpResult[];
  readonly cpuMicros: readonly number[];
}

/** The first lane is the floor. */
function printContention(lanes: readonly Lane[]): void {
  console.log(`Contention: one lot, ${CONNECTIONS} connections, ${seconds} s each, closed loop`);
  console.log(
    rowOf(
      "",
      "answered/s",
      "of floor",
      "accepted/s",
      "p50 ms",
      "p99 ms",
      "CPU µs each",
      "of floor",
    ),
  );
  const rate = ({ results }: Lane) =>
    median(results.map(({ answered, seconds: took }) => answered / took));
  const cost = ({ cpuMicros }: Lane) => median(cpuMicros);
  const base = lanes[0]!;
  for (const lane of lanes) {
    const accepted = lane.results.map((result) => (result.byStatus["201"] ?? 0) / result.seconds);
    console.log(
      rowOf(
        lane.name,
        whole(rate(lane)),
        (rate(lane) / rate(base)).toFixed(2),
        whole(median(accepted)),
        median(lane.results.map(({ p50Ms }) => p50Ms)).toFixed(2),
        median(lane.results.map(({ p99Ms }) => p99Ms)).toFixed(2),
        cost(lane).toFixed(1),
        (cost(base) / cost(lane)).toFixed(2),
      ),
    );
    const failed = lane.results.flatMap(({ byStatus }) =>
      Object.entries(byStatus).filter(([status]) => status !== "201" && status !== "409"),
    );
    if (failed.length > 0) console.log(`  other answers: ${JSON.stringify(failed)}`);
  }
}

async function benchFanOut(auction: BenchAuction): Promise<void> {
  const viewers = Number(values.viewers);
  const events = Number(values.events);
  const floor = runPinned(SERVER_CORE, "load/floor-fan-out.ts");
  const { port: floorPort } = await floor.next<{ port: number }>();
  const broadcast = await startTier(auction, "broadcast", {});
  const connect = async (port: number, lotId: string | null): Promise<Pinned> => {
    const client = runPinned(CLIENT_CORE, "load/viewers.ts");
    client.send({ port, viewers, lotId });
    await client.next();
    return client;
  };
  const floorViewers = await connect(floorPort, null);
  const broadcastViewers = await connect(broadcast.port, LOT_ID);

  const batcher = new Batcher(scriptStrategy(auction.store, keysOf(auction.uid)), BATCHER_DEFAULTS);
  let amountMinor = 8_000_000_000_000;
  const spreadMs = { floor: [] as number[], broadcast: [] as number[] };
  for (let n = 0; n < events; n++) {
    const bidId = `bench-${n}-x`;
    await wait(broadcastViewers, bidId);
    const startedMs = performance.timeOrigin + performance.now();
    const bid = {
      bidId,
      bidderId: "bench",
      key: `bench-${n}`,
      amountMinor: (amountMinor += 1_000),
    };
    const placement = await batcher.place(LOT_ID, bid);
    if (placement.outcome !== "accepted") throw new Error(`a bid was ${placement.outcome}`);
    const { atMs, bytes } = await broadcastViewers.next<{ atMs: number; bytes: number }>();
    spreadMs.broadcast.push(atMs - startedMs);

    await wait(floorViewers, bidId);
    const floorStartedMs = performance.timeOrigin + performance.now();
    floor.send({ bytes: bidId.padStart(Math.round(bytes / viewers), "x") });
    spreadMs.floor.push((await floorViewers.next<{ atMs: number }>()).atMs - floorStartedMs);
  }

  console.log(
    `Fan-out: ${viewers} viewers of one lot in one process, ${events} events, one by one`,
  );
  console.log(
    rowOf("from the bid to the last viewer", "p50 ms", "p99 ms", "µs a viewer", "of floor"),
  );
  const floorMs = median(spreadMs.floor);
  for (const [name, all] of [
    ["raw socket.write (floor)", spreadMs.floor],
    ["bid → Redis → broadcast", spreadMs.broadcast],
  ] as const) {
    const perViewer = ((median(all) * 1_000) / viewers).toFixed(2);
    const share = (floorMs / median(all)).toFixed(2);
    console.log(
      rowOf(name, median(all).toFixed(1), quantile(all, 0.99).toFixed(1), perViewer, share),
    );
  }
  console.log();
  const all = [floorViewers, broadcastViewers, floor, broadcast.tier];
  for (const process of all) await process.stop();
}

async function wait(client: Pinned, marker: string): Promise<void> {
  client.send({ marker });
  await client.next();
}

/** Open loop: bids arrive at a fixed rate, and bids that could not be sent are counted. */
async function runK6(auction: BenchAuction): Promise<void> {
  const k6 = findProgram("k6");
  if (k6 === null) {
    console.log(
      "k6 is not on PATH: its two experiments are skipped (go install go.k6.io/k6@latest)",
    );
    return;
  }
  const gateway = await startTier(auction, "gateway", {});
  const broadcast = await startTier(auction, "broadcast", {});
  const env = {
    GATEWAY: `http://127.0.0.1:${gateway.port}`,
    STREAM: `ws://127.0.0.1:${broadcast.port}/v1/stream`,
    LOT: LOT_ID,
    TOKENS: JSON.stringify(
      await Promise.all(Array.from({ length: 20 }, (_, i) => auction.token(`k6-${i}`))),
    ),
  };
  for (const script of ["contention", "fan-out"]) {
    const path = new URL(`./${script}.k6.js`, import.meta.url).pathname;
    const run = spawnSync(k6, ["run", "--quiet", "--no-usage-report", path], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    if (run.status !== 0) process.exitCode = 1;
  }
  await gateway.tier.stop();
  await broadcast.tier.stop();
}
