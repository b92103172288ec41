/** `make up`: an Auction on this machine, from its YAML to the first bid. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pause } from "../../services/runtime/lifecycle.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { rulesHashOf } from "../../services/store/define-lots.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { definitionOf } from "../api/definition.ts";
import { durationMs } from "../api/duration.ts";
import { archivalState, askToOpen } from "./archival.ts";
import { type FileProblem, readAuctionFile } from "./auction-file.ts";
import type { LocalEnv } from "./config.ts";
import {
  type DataFolder,
  type RecordedAuction,
  STORES,
  type TierName,
  TIERS,
  writeSecret,
} from "./data-folder.ts";
import { settle, standingOf } from "./earlier-auction.ts";
import { findServers } from "./find-servers.ts";
import { holderOf } from "./port-holder.ts";
import { stopLeftovers } from "./leftovers.ts";
import { beginRun, endRun, readRun, runIsReady } from "./run-record.ts";
import { isPortInUse } from "../../servers/ports.ts";
import { findProgram } from "../../servers/find-program.ts";
import { PROMETHEUS_PACKAGE, startPrometheus } from "../../servers/prometheus.ts";
import { containerName, startStore } from "./stores.ts";
import { summaryOf } from "./summary.ts";
import { Supervisor } from "./supervisor.ts";
import type { Terminal } from "./terminal.ts";
import { endpointsOf, internalPort, portsOf, readinessOf, startTier } from "./tiers.ts";

type Reserves = ReadonlyMap<string, number>;

/** One run, and what it works with. */
interface Run {
  readonly env: LocalEnv;
  readonly folder: DataFolder;
  readonly terminal: Terminal;
  readonly supervisor: Supervisor;
  readonly file: string;
  readonly auction: AuctionResource;
  readonly reserves: Reserves;
}

/**
 * Runs the Auction of a file until `interrupted` aborts, then stops all that it started.
 * @returns the exit code
 * @throws Error when something does not start; all that had started is stopped by then
 */
export async function up(
  file: string,
  folder: DataFolder,
  env: LocalEnv,
  terminal: Terminal,
  interrupted: AbortSignal,
): Promise<number> {
  const read = readAuctionFile(file);
  if (!read.ok) {
    terminal.say(problemsText(file, read.problems));
    return 1;
  }
  const { auction, reserves } = read;
  folder.prepare();
  if (!beginRun(folder, env)) {
    const other = readRun(folder);
    terminal.say(`an auction already runs from ${folder.path} (pid ${other?.pid}).`);
    terminal.say(
      `It answers at ${other?.endpoints.gateway}; make status shows it, make down stops it.`,
    );
    return 1;
  }
  const say = (line: string) => terminal.say(line);
  const supervisor = new Supervisor(folder.runDir, say);
  interrupted.addEventListener("abort", () => supervisor.interrupt());
  if (interrupted.aborted) supervisor.interrupt();
  try {
    await stopLeftovers(folder, say);
    const busy = await busyPorts(env);
    if (busy.length > 0) {
      for (const line of busy) say(line);
      return 1;
    }
    const run = { env, folder, terminal, supervisor, file, auction, reserves };
    const recorded = await start(run);
    const observed = env.OBSERVE && (await observe(run));
    runIsReady(folder, env, recorded);
    say(await summaryOf(auction, folder, env, observed));
    await new Promise((resolve) => supervisor.stopping.addEventListener("abort", resolve));
    return 0;
  } catch (error) {
    if (supervisor.stopping.aborted) return 0;
    throw error;
  } finally {
    say("Stopping …");
    await supervisor.stop();
    endRun(folder);
    say(`Stopped. What was bid is kept in ${folder.path}; make up goes on with it.`);
  }
}

export function problemsText(file: string, problems: readonly FileProblem[]): string {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.map(({ path, message, line }) => {
    return `  ${line === null ? file : `${file}:${line}`}  ${path}: ${message}`;
  });
  return [`${file} is not a valid Auction, nothing was started. ${count}:`, ...lines].join("\n");
}

async function busyPorts(env: LocalEnv): Promise<string[]> {
  const lines: string[] = [];
  const seen = new Map<number, string>();
  for (const { variable, port } of portsOf(env)) {
    const twin = seen.get(port);
    seen.set(port, variable);
    if (twin !== undefined) {
      lines.push(`port ${port} is given to both ${twin} and ${variable}`);
    } else if (await isPortInUse(port)) {
      const by = holderOf(port) ?? "another process";
      lines.push(`port ${port} is in use by ${by}: stop that, or set ${variable} to another port`);
    }
  }
  return lines;
}

/** Everything up to the opening, in order; says how far it is. */
async function start(run: Run): Promise<RecordedAuction> {
  const { folder, env, terminal, supervisor, auction, file } = run;
  terminal.say("Servers");
  const sources = await findServers(folder, terminal);
  for (const store of STORES) {
    await supervisor.start({
      name: store,
      stopSignal: store === "postgres" ? "SIGINT" : "SIGTERM",
      container: sources[store] === "docker" ? containerName(store, folder) : null,
      launch: (onSpawn) => startStore(store, sources[store], folder, env, onSpawn),
    });
    terminal.say(`  ${store} is up`);
  }
  const recorded = await whichAuction(run);
  terminal.say(`Tiers of ${recorded.name} (auction ${recorded.uid})`);
  defineFor(run, recorded.uid);
  for (const tier of TIERS) await startAndAwait(run, tier, recorded.uid);

  await askToOpen(endpointsOf(env), folder, supervisor.stopping);
  await warnIfRefused(run, recorded.uid);
  folder.record(auction.metadata.name, file, recorded.uid);
  return recorded;
}

const SCRAPE_INTERVAL_SECONDS = 5;
const ALERT_RULES = fileURLToPath(new URL("../../dashboards/alerts.yaml", import.meta.url));

/** @returns whether Prometheus runs. Without it an auction is as good. */
async function observe({ env, folder, terminal, supervisor, auction }: Run): Promise<boolean> {
  if (findProgram("prometheus") === null) {
    terminal.say(
      `  OBSERVE=1: prometheus is not on PATH; going on without (apt-get install ${PROMETHEUS_PACKAGE})`,
    );
    return false;
  }
  const targets = TIERS.map((tier) => {
    return {
      address: `127.0.0.1:${internalPort(tier, env)}`,
      labels: { auction: auction.metadata.name },
    };
  });
  await supervisor.start({
    name: "prometheus",
    stopSignal: "SIGTERM",
    container: null,
    launch: (onSpawn) =>
      startPrometheus({
        targets,
        onSpawn,
        ruleFiles: [ALERT_RULES],
        scrapeIntervalSeconds: SCRAPE_INTERVAL_SECONDS,
        port: env.PROMETHEUS_PORT,
        dir: folder.prometheusDir,
        logFile: folder.logFile("prometheus"),
      }),
  });
  terminal.say("  prometheus is up");
  return true;
}

/** The one that this folder ran before, or a new one where there is none or that one is over. */
async function whichAuction(run: Run): Promise<RecordedAuction> {
  const { folder, terminal, file, auction } = run;
  const { name } = auction.metadata;
  const before = folder.recorded(name);
  if (before === null) {
    if (isPast(auction)) throw new Error(`${file}: spec.schedule: it would be over already`);
    return folder.record(name, file);
  }
  const redisUrl = readSecretFile(folder.urlFile("redis"));
  const standing = await standingOf(redisUrl, before.uid);
  if (standing === "goes on") {
    terminal.say(`  ${name} goes on where it stopped`);
    return before;
  }
  if (isPast(auction)) {
    terminal.say(`  ${name} is over, and its schedule is in the past: showing how it ended`);
    return before;
  }
  if (standing === "unsettled") await settleBefore(run, before, redisUrl);
  terminal.say(`  ${name} is over; starting it anew (the archive keeps auction ${before.uid})`);
  return folder.record(name, file);
}

function isPast({ spec }: AuctionResource): boolean {
  const { opensAt, closesAt, lasts } = spec.schedule;
  if (closesAt !== undefined) return Date.parse(closesAt) <= Date.now();
  if (opensAt === undefined || lasts === undefined) return false;
  return Date.parse(opensAt) + durationMs(lasts) <= Date.now();
}

async function settleBefore(run: Run, before: RecordedAuction, redisUrl: string): Promise<void> {
  const { terminal, supervisor, folder } = run;
  terminal.say(`  ${before.name} ended while nothing ran: closing its lots, archiving its results`);
  if (!existsSync(folder.rulesFile)) defineFor(run, before.uid);
  const { uid } = JSON.parse(readFileSync(folder.rulesFile, "utf8")) as { uid: string };
  if (uid !== before.uid) defineFor(run, before.uid);
  await startAndAwait(run, "archival", before.uid);
  if (!(await settle(redisUrl, before.uid, supervisor.stopping))) {
    supervisor.stopping.throwIfAborted();
    throw new Error(`the results of ${before.name} were not archived in time; see make logs`);
  }
  await supervisor.stopPart("archival");
}

function defineFor({ auction, reserves, folder }: Run, uid: string): void {
  const definition = definitionOf(auction, uid, reserves);
  writeSecret(folder.rulesFile, JSON.stringify(definition, null, 2)); // it holds the reserves
}

const READY_TIMEOUT_MS = 60_000;

async function startAndAwait(run: Run, tier: TierName, uid: string): Promise<void> {
  const { supervisor, folder, env, terminal } = run;
  await supervisor.start({
    name: tier,
    stopSignal: "SIGTERM",
    container: null,
    launch: (onSpawn) => startTier(tier, uid, folder, env, onSpawn),
  });
  const url = endpointsOf(env).internal[tier];
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    supervisor.stopping.throwIfAborted();
    const readiness = await readinessOf(url);
    if (readiness.ready) break;
    if (Date.now() > deadline) {
      throw new Error(`${tier} is not ready: ${readiness.why}; see ${folder.logFile(tier)}`);
    }
    await pause(50, supervisor.stopping);
  }
  terminal.say(`  ${tier} is ready`);
}

/** An open auction's lots and rules are frozen: a file that was changed since is not what runs. */
async function warnIfRefused(run: Run, uid: string): Promise<void> {
  const { env, terminal, auction, reserves, file } = run;
  const state = await archivalState(endpointsOf(env).internal.archival);
  const asked = rulesHashOf(definitionOf(auction, uid, reserves));
  if (state !== null && state.rulesHash !== null && state.rulesHash !== asked) {
    terminal.say(
      `  note: ${file} was changed, and the auction is open already: its lots and rules`,
    );
    terminal.say("        stay as they were. make reset starts afresh.");
  }
}
