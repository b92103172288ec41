/**
 * One fault run: an auction under load, faults by the schedule of a seed, recovery, and a verdict on every
 * bid. kinds.ts says how each fault is injected, schedule.ts when, judge.ts what the checker finds.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Recorder } from "../load/recorder.ts";
import { signToken } from "../services/access/tokens.ts";
import { encodeEvent } from "../services/lot/events.ts";
import { waitForCompleteArchive } from "./archive-complete.ts";
import { faultAuction, WARM_UP_MS } from "./definition.ts";
import { Injector } from "./injector.ts";
import { judge, type Judgement } from "./judge.ts";
import { LoadProcess } from "./load-process.ts";
import type { LoadPlan } from "./load-plan.ts";
import { type FaultRunResult, resultOf } from "./report.ts";
import { scheduleOf } from "./schedule.ts";
import { LINKS, linkName, SECRET, startSystem, type System } from "./system.ts";

interface FaultRunOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly bidsPerSecond: number;
  readonly outboxMaxBytes: number;
  readonly log: (line: string) => void;
  /** Folder for the logs and histories of a run that fails. */
  readonly artifactsDir: string;
}

/** Few bidders that bid often: every bid in flight when a fault strikes has an unknown outcome. */
const BIDDERS = 18;
const RESOLVE_TIMEOUT_MS = 60_000;
const PROGRESS_MS = 5_000;

export async function runFaults(options: FaultRunOptions): Promise<FaultRunResult> {
  const { seed, durationMs, log } = options;
  const definition = faultAuction(durationMs);
  log(`faults: SEED=${seed} DURATION=${durationMs / 1_000} auction ${definition.uid}`);
  const schedule = scheduleOf(seed, durationMs);
  const system = await startSystem(definition, options.outboxMaxBytes, log);
  const histories = ["bidders", "viewers"].map((name) => join(system.dir, `${name}.jsonl`));
  const loads: LoadProcess[] = [];
  try {
    await system.open();
    const plan = await planOf(system, options);
    const [bidders, viewers] = (["bidders", "viewers"] as const).map(
      (name, i) => new LoadProcess(name, { ...plan, historyFile: histories[i]! }),
    ) as [LoadProcess, LoadProcess];
    loads.push(bidders, viewers);
    const progress = logProgress(bidders, viewers, log);
    await sleep(WARM_UP_MS);
    const injector = new Injector(system, log);
    await injector.run(schedule, durationMs);
    for (const managed of Object.values(system.processes)) await managed.start();
    log("every fault is undone; waiting for the last answers");
    const finish = (load: LoadProcess) =>
      load.finish(RESOLVE_TIMEOUT_MS).catch((error: unknown) => log(String(error)));
    await finish(bidders);
    await waitForCompleteArchive(definition, system.urls, log);
    await finish(viewers);
    progress.stop();
    const judgement = await judge(definition, histories, system.urls.postgres);
    const result = resultOf(injector, judgement, bidders.counts);
    if (!result.passed) keepArtifacts(system, histories, options, judgement);
    return result;
  } catch (error) {
    keepArtifacts(system, histories, options);
    throw error;
  } finally {
    for (const load of loads) load.kill();
    await system.stop();
  }
}

async function planOf(system: System, options: FaultRunOptions): Promise<LoadPlan> {
  const portsOf = (tier: string) =>
    LINKS.filter(([from, to]) => from === "load" && to.startsWith(tier)).map(
      ([from, to]) => system.proxies.get(linkName(from, to))!.port,
    );
  const bidderIds = Array.from({ length: BIDDERS }, (_, n) => `bidder-${n}`);
  const tokens = bidderIds.map(async (sub) => {
    const token = await signToken(SECRET, { sub, scope: "bid", lifetimeSeconds: 86_400 });
    return [sub, token] as const;
  });
  return {
    uid: system.definition.uid,
    gatewayPorts: portsOf("gateway"),
    broadcastPorts: portsOf("broadcast"),
    lots: system.definition.lots.map(({ lotId }) => ({ lotId, long: lotId.startsWith("long") })),
    tokens: await Promise.all(tokens),
    bidsPerSecond: options.bidsPerSecond,
    historyFile: "",
    seed: options.seed,
  };
}

/** Logs the counts of the load every few seconds, and once more when it is stopped. */
function logProgress(bidders: LoadProcess, viewers: LoadProcess, log: (line: string) => void) {
  const startMs = performance.now();
  let lastMs = startMs;
  let lastAcknowledged = 0;
  const logCounts = () => {
    const { acknowledged, rejected, refused, unknown, unresolved } = bidders.counts;
    const nowMs = performance.now();
    const perSecond = ((acknowledged - lastAcknowledged) * 1_000) / Math.max(1, nowMs - lastMs);
    lastAcknowledged = acknowledged;
    lastMs = nowMs;
    const seconds = Math.round((nowMs - startMs) / 1_000);
    log(
      `${seconds} s: ${acknowledged} acknowledged (${Math.round(perSecond)}/s), ${rejected} rejected, ` +
        `${refused} refused, ${unknown} unknown (${unresolved} open), ` +
        `${viewers.counts.frames} frames on ${viewers.counts.connections} sockets`,
    );
  };
  const timer = setInterval(logCounts, PROGRESS_MS).unref();
  return {
    stop() {
      clearInterval(timer);
      logCounts();
    },
  };
}

/** Copies histories and logs of a run that failed to a folder that outlives it. */
function keepArtifacts(
  system: System,
  histories: readonly string[],
  { artifactsDir, log }: FaultRunOptions,
  judgement?: Judgement,
): void {
  const dir = join(artifactsDir, system.definition.uid);
  mkdirSync(dir, { recursive: true });
  const logs = Object.values(system.processes).map(({ logFile }) => logFile);
  for (const file of [...histories, ...logs]) {
    try {
      copyFileSync(file, join(dir, file.split("/").at(-1)!));
    } catch {
      // A log that was never written.
    }
  }
  if (judgement) {
    const recorder = new Recorder(join(dir, "archive.jsonl"));
    for (const events of judgement.log.values()) {
      for (const event of events) recorder.line(encodeEvent(event));
    }
    recorder.close();
  }
  log(`histories and logs are kept in ${dir}`);
}
