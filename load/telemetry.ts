/**
 * The cost of tracing:
 *
 *   node load/telemetry.ts [--seconds=2] [--rounds=8] [--ratio=0.01]
 *
 * Measures, interleaved in one run, a gateway without tracing, one that samples at the ratio, and one that samples
 * only slow and failed bids; a receiver drops the spans. The result is the ratio of the first two. A second
 * gateway without tracing shows the noise. Rates are compared by their upper quartile and CPU by its lower one,
 * because other work on the machine only makes both worse.
 */
import { parseArgs } from "node:util";
import { LOT_ID, startBenchAuction } from "./bench-auction.ts";
import { quantile, rowFormat, whole } from "./figures.ts";
import type { HttpResult } from "./http-load.ts";
import { CLIENT_CORE, cpuSecondsOf, PINNING, type Pinned, runPinned } from "./pinned.ts";
import { startTier } from "./start-tier.ts";

const CONNECTIONS = 100;
const rowOf = rowFormat(38, 13);

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

const auction = await startBenchAuction();
const sink = runPinned(CLIENT_CORE, "load/otlp-sink.ts");
const client = runPinned(CLIENT_CORE, "load/http-load.ts");
try {
  const { port: sinkPort } = await sink.next<{ port: number }>();
  const endpoint = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${sinkPort}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json", // the sink counts spans in the text
  };
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
    Array.from({ length: CONNECTIONS }, (_, i) => auction.token(`bidder-${i}`)),
  );
  for (const lane of lanes) await measure(lane, tokens, 2);
  for (const lane of lanes) {
    lane.perSecond.length = 0;
    lane.cpuMicros.length = 0;
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    // Each round starts with another lane.
    const first = round % lanes.length;
    const turn = [...lanes.slice(first), ...lanes.slice(0, first)];
    for (const lane of turn) await measure(lane, tokens, Number(values.seconds));
  }

  console.log(`${PINNING}; appendfsync always; ${values.rounds} interleaved rounds`);
  console.log(rowOf("accepted bids, one lot", "answered/s", "of none", "CPU µs each", "of none"));
  const [base] = lanes as [Lane];
  for (const { name, perSecond, cpuMicros } of lanes) {
    const rate = quantile(perSecond, 0.75);
    const micros = quantile(cpuMicros, 0.25);
    const share = (rate / quantile(base.perSecond, 0.75)).toFixed(3);
    const cost = (micros / quantile(base.cpuMicros, 0.25)).toFixed(3);
    console.log(rowOf(name, whole(rate), share, micros.toFixed(1), cost));
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
  await auction.stop();
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
  const { tier, port } = await startTier(auction, "gateway", changes);
  return { name, port, gateway: tier, perSecond: [], cpuMicros: [] };
}
