/**
 * `node load/telemetry.ts [--seconds=2] [--rounds=8] [--ratio=0.01]`: what tracing costs. One gateway without
 * it, one that samples by the ratio, and one that only waits for slow and failed bids, in turns in one run,
 * with a receiver that takes the spans and drops them. The figure that counts is the ratio of the first two.
 * A second gateway without tracing says how far two that are the same lie apart here. Compared are upper
 * quartiles of the rates and lower ones of the CPU: what else runs on the machine only ever takes.
 */
import { parseArgs } from "node:util";
import { freePort } from "../servers/ports.ts";
import { LOT_ID, startBenchSale } from "./bench-sale.ts";
import type { HttpResult } from "./http-load.ts";
import {
  CLIENT_CORE,
  cpuSecondsOf,
  PINNING,
  type Pinned,
  runPinned,
  SERVER_CORE,
} from "./pinned.ts";

const CONNECTIONS = 100;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "2" },
    rounds: { type: "string", default: "8" },
    ratio: { type: "string", default: "0.01" },
  },
});

interface Lane {
  readonly name: string;
  readonly port: number;
  readonly gateway: Pinned;
  readonly perSecond: number[];
  readonly cpuMicros: number[];
}

const sale = await startBenchSale();
const sink = runPinned(CLIENT_CORE, "load/otlp-sink.ts");
const client = runPinned(CLIENT_CORE, "load/http-load.ts");
try {
  const { port: sinkPort } = await sink.next<{ port: number }>();
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sinkPort}` };
  const lanes = [
    await startLane("no tracing", {}),
    await startLane(`tracing, ${values.ratio} sampled`, {
      ...endpoint,
      OTEL_TRACES_SAMPLER_ARG: values.ratio,
    }),
    await startLane("tracing, none sampled", { ...endpoint, OTEL_TRACES_SAMPLER_ARG: "0" }),
    await startLane("no tracing, again", {}),
  ];
  const tokens = await Promise.all(
    Array.from({ length: CONNECTIONS }, (_, i) => sale.token(`bidder-${i}`)),
  );
  for (const lane of lanes) await measure(lane, tokens, 2);
  for (const lane of lanes) {
    lane.perSecond.length = 0;
    lane.cpuMicros.length = 0;
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    // Another first each time.
    const first = round % lanes.length;
    const turn = [...lanes.slice(first), ...lanes.slice(0, first)];
    for (const lane of turn) await measure(lane, tokens, Number(values.seconds));
  }

  console.log(`${PINNING}; appendfsync always; ${values.rounds} interleaved rounds`);
  console.log(row("accepted bids, one lot", "answered/s", "of none", "CPU µs each", "of none"));
  const [base] = lanes as [Lane];
  for (const { name, perSecond, cpuMicros } of lanes) {
    const rate = quantile(perSecond, 0.75);
    const micros = quantile(cpuMicros, 0.25);
    const share = (rate / quantile(base.perSecond, 0.75)).toFixed(3);
    const cost = (micros / quantile(base.cpuMicros, 0.25)).toFixed(3);
    const each = Math.round(rate).toLocaleString("en");
    console.log(row(name, each, share, micros.toFixed(1), cost));
  }
  sink.send("count");
  const { spans, bytes } = await sink.next<{ spans: number; bytes: number }>();
  console.log(
    `the receiver got ${spans.toLocaleString("en")} spans in ${bytes.toLocaleString("en")} bytes`,
  );
  for (const { gateway } of lanes) await gateway.stop();
} finally {
  await client.stop();
  await sink.stop();
  await sale.stop();
}
process.exit(0);

async function measure(lane: Lane, tokens: string[], seconds: number): Promise<void> {
  const before = cpuSecondsOf(lane.gateway.child.pid!);
  client.send({ port: lane.port, tokens, lotId: LOT_ID, seconds, rising: true });
  const { answered, seconds: took } = await client.next<HttpResult>();
  lane.perSecond.push(answered / took);
  const cpu = cpuSecondsOf(lane.gateway.child.pid!) - before;
  lane.cpuMicros.push((cpu * 1e6) / answered);
}

async function startLane(name: string, changes: NodeJS.ProcessEnv): Promise<Lane> {
  const [port, internalPort] = [await freePort(), await freePort()];
  const ports = { PORT: String(port), INTERNAL_PORT: String(internalPort) };
  const env = { ...sale.env, ...ports, ...changes };
  const gateway = runPinned(SERVER_CORE, "services/gateway/main.ts", [], env);
  for (let tries = 0; tries < 200; tries++) {
    const ready = await fetch(`http://127.0.0.1:${internalPort}/readyz`).catch(() => null);
    if (ready?.ok) return { name, port, gateway, perSecond: [], cpuMicros: [] };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("a gateway did not get ready");
}

function quantile(all: readonly number[], q: number): number {
  const sorted = all.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * q)] ?? NaN;
}

function row(name: string, ...cells: string[]): string {
  return name.padEnd(38) + cells.map((cell) => cell.padStart(13)).join("");
}
