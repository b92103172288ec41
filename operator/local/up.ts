/** `make up`: runs an Auction on this machine. It starts the stores and the tiers and opens the auction. */
import { fileURLToPath } from "node:url";
import { memoryBudgetOf } from "../../services/store/memory-budget.ts";
import { aborted, pause } from "../../services/runtime/lifecycle.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { rulesHashOf } from "../../services/store/define-lots.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { STORES } from "../api/components.ts";
import { definitionOf } from "../api/definition.ts";
import { capacityOf } from "../desired/capacity.ts";
import { durationMs } from "../api/duration.ts";
import { instantMs } from "../api/instant.ts";
import { readArchivalState, openAuction } from "./archival.ts";
import { type FileProblem, readAuctionFile } from "./auction-file.ts";
import type { LocalEnv } from "./config.ts";
import { type DataFolder, type RecordedAuction, writeSecret } from "./data-folder.ts";
import { previousAuctionState, closePreviousAuction, withKeptDigits } from "./previous-auction.ts";
import { chooseServers } from "./choose-sources.ts";
import { processListeningOn } from "./port-owner.ts";
import { stopOrphans } from "./orphans.ts";
import { beginRun, endRun, readRun, markRunReady } from "./run-record.ts";
import { isPortInUse } from "../../servers/ports.ts";
import { findProgram } from "../../servers/find-program.ts";
import { PROMETHEUS_PACKAGE, startPrometheus } from "../../servers/prometheus.ts";
import { containerName, startStore } from "./stores.ts";
import { summaryOf } from "./summary.ts";
import { Supervisor } from "./supervisor.ts";
import type { Terminal } from "./terminal.ts";
import { endpointsOf, portsOf, readinessOf, startTier, type TierProcess } from "./tiers.ts";

type Reserves = ReadonlyMap<string, number>;

/** What every step of a run needs. */
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
 * Runs the Auction of a file until `interrupted` aborts, then stops every process that it started.
 * @returns the exit code
 * @throws Error if a process does not start; the others are stopped before
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
      `Its gateway is at ${other?.endpoints.gateway}. make status shows its state, make down stops it.`,
    );
    return 1;
  }
  const say = (line: string) => terminal.say(line);
  const supervisor = new Supervisor(folder.runDir, say);
  interrupted.addEventListener("abort", () => supervisor.interrupt());
  if (interrupted.aborted) supervisor.interrupt();
  try {
    await stopOrphans(folder, say);
    const busy = await busyPorts(env);
    if (busy.length > 0) {
      for (const line of busy) say(line);
      return 1;
    }
    const run = { env, folder, terminal, supervisor, file, auction, reserves };
    const started = await start(run);
    const withPrometheus = env.OBSERVE && (await startObserving(run));
    markRunReady(folder, env, started.recorded); // Before the summary: its commands need the record.
    say(await summaryOf(started.auction, folder, env, withPrometheus));
    await aborted(supervisor.stopping);
    return 0;
  } catch (error) {
    if (supervisor.stopping.aborted) return 0;
    throw error;
  } finally {
    say("Stopping …");
    await supervisor.stop();
    endRun(folder);
    say(`Stopped. All bids are kept in ${folder.path}; the next make up continues the auction.`);
  }
}

function problemsText(file: string, problems: readonly FileProblem[]): string {
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const lines = problems.map(({ path, message, line }) => {
    return `  ${line === null ? file : `${file}:${line}`}  ${path}: ${message}`;
  });
  return [`${file} is not a valid Auction. Nothing was started. ${count}:`, ...lines].join("\n");
}

async function busyPorts(env: LocalEnv): Promise<string[]> {
  const lines: string[] = [];
  const variableOf = new Map<number, string>();
  for (const { variable, port } of portsOf(env)) {
    const other = variableOf.get(port);
    variableOf.set(port, variable);
    if (other !== undefined) {
      lines.push(`port ${port} is set for both ${other} and ${variable}: change one of them`);
    } else if (await isPortInUse(port)) {
      const owner = processListeningOn(port) ?? "another process";
      lines.push(`port ${port} is in use by ${owner}: stop it, or set ${variable} to another port`);
    }
  }
  return lines;
}

/** Starts the stores, then the tiers, then opens the auction. Prints each step. */
async function start(
  run: Run,
): Promise<{ readonly recorded: RecordedAuction; readonly auction: AuctionResource }> {
  const { folder, env, terminal, supervisor, file } = run;
  terminal.say("Servers");
  const sources = await chooseServers(folder, terminal);
  const { maxMemoryBytes } = memoryBudgetOf(capacityOf(run.auction.spec));
  for (const store of STORES) {
    await supervisor.start({
      name: store,
      stopSignal: store === "postgres" ? "SIGINT" : "SIGTERM",
      container: sources[store] === "docker" ? containerName(store, folder) : null,
      launch: (onSpawn) => startStore(store, sources[store], folder, env, maxMemoryBytes, onSpawn),
    });
    terminal.say(`  ${store} is up`);
  }
  const recorded = await chooseAuction(run);
  terminal.say(`Tiers of ${recorded.name} (auction ${recorded.uid})`);
  const auction = withKeptDigits(run.auction, recorded.uid, folder.readRules());
  const kept = { ...run, auction };
  writeRules(kept, recorded.uid);
  for (const started of endpointsOf(env).processes)
    await startTierAndWait(kept, started, recorded.uid);

  await openAuction(endpointsOf(env), folder, supervisor.stopping);
  await warnIfRulesDiffer(kept, recorded.uid);
  folder.record(auction.metadata.name, file, recorded.uid);
  return { recorded, auction };
}

const SCRAPE_INTERVAL_SECONDS = 5;
const ALERT_RULES = fileURLToPath(new URL("../../dashboards/alerts.yaml", import.meta.url));

/** @returns false if Prometheus is not installed: the auction runs without it */
async function startObserving({
  env,
  folder,
  terminal,
  supervisor,
  auction,
}: Run): Promise<boolean> {
  if (findProgram("prometheus") === null) {
    terminal.say(
      `  OBSERVE=1: prometheus is not on PATH, so the auction runs without it (to install it: apt-get install ${PROMETHEUS_PACKAGE})`,
    );
    return false;
  }
  const targets = endpointsOf(env).processes.map(({ internalPort }) => {
    return { address: `127.0.0.1:${internalPort}`, labels: { auction: auction.metadata.name } };
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

/**
 * The auction that the folder recorded under this name, or a new one if there is none or it has ended. An
 * ended auction is kept if the schedule in the file has passed.
 */
async function chooseAuction(run: Run): Promise<RecordedAuction> {
  const { folder, terminal, file, auction } = run;
  const { name } = auction.metadata;
  const previous = folder.recorded(name);
  if (previous === null) {
    if (isPast(auction))
      throw new Error(
        `${file}: spec.schedule: the auction has already ended; set a later closesAt`,
      );
    return folder.record(name, file);
  }
  const redisUrl = readSecretFile(folder.urlFile("redis"));
  const state = await previousAuctionState(redisUrl, previous.uid);
  if (state === "running") {
    terminal.say(`  ${name} continues where it stopped`);
    return previous;
  }
  if (isPast(auction)) {
    terminal.say(`  ${name} has ended and its schedule is in the past: its results are shown`);
    return previous;
  }
  if (state === "unarchived") await closePrevious(run, previous, redisUrl);
  terminal.say(`  ${name} has ended; starting a new auction (the archive keeps ${previous.uid})`);
  return folder.record(name, file);
}

function isPast({ spec }: AuctionResource): boolean {
  const { opensAt, closesAt, lasts } = spec.schedule;
  if (closesAt !== undefined) return instantMs(closesAt) <= Date.now();
  if (opensAt === undefined || lasts === undefined) return false;
  return instantMs(opensAt) + durationMs(lasts) <= Date.now();
}

async function closePrevious(run: Run, previous: RecordedAuction, redisUrl: string): Promise<void> {
  const { terminal, supervisor, folder } = run;
  terminal.say(
    `  ${previous.name} ended while it was stopped: closing its lots, archiving its results`,
  );
  if (folder.readRules()?.uid !== previous.uid) writeRules(run, previous.uid);
  const archival = endpointsOf(run.env).processes.find(({ tier }) => tier === "archival")!;
  await startTierAndWait(run, archival, previous.uid);
  if (!(await closePreviousAuction(redisUrl, previous.uid, supervisor.stopping))) {
    supervisor.stopping.throwIfAborted();
    throw new Error(
      `the results of ${previous.name} were not archived in time; see make logs TIER=archival`,
    );
  }
  await supervisor.stopOne("archival");
}

function writeRules({ auction, reserves, folder }: Run, uid: string): void {
  const definition = definitionOf(auction, uid, reserves);
  writeSecret(folder.rulesFile, JSON.stringify(definition, null, 2)); // it contains the reserves
}

const READY_TIMEOUT_MS = 60_000;

async function startTierAndWait(run: Run, started: TierProcess, uid: string): Promise<void> {
  const { name, internal } = started;
  const { supervisor, folder, env, terminal, auction } = run;
  await supervisor.start({
    name,
    stopSignal: "SIGTERM",
    container: null,
    launch: (onSpawn) => startTier(started, uid, folder, env, auction.spec, onSpawn),
  });
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    supervisor.stopping.throwIfAborted();
    const readiness = await readinessOf(internal);
    if (readiness.ready) break;
    if (Date.now() > deadline) {
      throw new Error(`${name} is not ready: ${readiness.reason}; see ${folder.logFile(name)}`);
    }
    await pause(50, supervisor.stopping);
  }
  terminal.say(`  ${name} is ready`);
}

/** Archival refuses most changes of an open auction, and the store keeps its rules: says so if the file differs. */
async function warnIfRulesDiffer(run: Run, uid: string): Promise<void> {
  const { env, terminal, auction, reserves, file } = run;
  const state = await readArchivalState(endpointsOf(env).internal.archival);
  const fileHash = rulesHashOf(definitionOf(auction, uid, reserves));
  if (state !== null && state.rulesHash !== null && state.rulesHash !== fileHash) {
    terminal.say(
      `  note: ${file} has changed, but the auction is open: its lots and rules stay as`,
    );
    terminal.say(
      "        they were. To start from the file, delete all data: make down, make reset.",
    );
  }
}
