/**
 * The load as a pod: runs bidders and viewers as child processes, prints a line of JSON per second (`Line`), and
 * writes the histories into a folder. A file in that folder ends it.
 *
 *   node load/in-cluster/main.ts PLAN.json FOLDER
 */
import { type ChildProcess, fork } from "node:child_process";
import { lookup } from "node:dns/promises";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { mergeLatencies } from "../latencies.ts";
import type {
  Address,
  BidderCounts,
  FromChild,
  Line,
  Plan,
  Second,
  ToChild,
  ViewerCounts,
} from "./plan.ts";
import { BIDS_FILE, FINISH_FILE, TAKEN_FILE, VIEWS_FILE } from "./plan.ts";

const REPORT_EVERY_MS = 1_000;
const POLL_EVERY_MS = 200;
/** Time to fetch the histories after the end. */
const KEPT_MS = 10 * 60_000;

const [planFile, folder] = process.argv.slice(2) as [string, string];

class Child<Counts> {
  readonly #process: ChildProcess;
  #counts: Counts[] = [];
  state: "starting" | "ready" | "finished" = "starting";

  constructor(name: string, plan: Plan, historyFile: string) {
    this.#process = fork(fileURLToPath(new URL(`./${name}.ts`, import.meta.url)), {
      execArgv: ["--max-semi-space-size=32"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#process.on("message", (message: FromChild<Counts>) => {
      if ("counts" in message) this.#counts.push(message.counts);
      else this.state = message.state;
    });
    this.#process.on("exit", () => {
      if (this.state !== "finished") process.exit(1);
    });
    this.#process.send({ plan, historyFile: join(folder, historyFile) } satisfies ToChild);
  }

  finish(): void {
    this.#process.send("finish" satisfies ToChild);
  }

  take(): Counts[] {
    return this.#counts.splice(0);
  }
}

const print = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const sum = <T>(all: readonly T[], value: (one: T) => number) =>
  all.reduce((total, one) => total + value(one), 0);

/** From the last report of the viewers. */
let watching = 0;

function secondOf(bids: readonly BidderCounts[], views: readonly ViewerCounts[]): Second {
  const last = bids.at(-1);
  watching = views.at(-1)?.watching ?? watching;
  return {
    atMs: Date.now(),
    rate: last?.rate ?? 0,
    due: sum(bids, ({ due }) => due),
    accepted: sum(bids, ({ accepted }) => accepted),
    rejected: sum(bids, ({ rejected }) => rejected),
    refused: sum(bids, ({ refused }) => refused),
    unknown: sum(bids, ({ unknown }) => unknown),
    failedOverHttp: sum(bids, ({ failedOverHttp }) => failedOverHttp),
    dropped: sum(bids, ({ dropped }) => dropped),
    latencies: mergeLatencies(bids.map(({ latencies }) => latencies)),
    pending: last?.pending ?? 0,
    odd: bids.flatMap(({ odd }) => odd),
    frames: sum(views, ({ frames }) => frames),
    watching,
    broken: sum(views, ({ broken }) => broken),
    back: views.flatMap(({ back }) => back),
    notRecovered: sum(views, ({ notRecovered }) => notRecovered),
  };
}

/** Resolves a host name once: the Services outlive every pod. */
async function resolved({ host, port }: Address): Promise<Address> {
  return { host: (await lookup(host, 4)).address, port };
}

async function run(): Promise<void> {
  const written = JSON.parse(readFileSync(planFile, "utf8")) as Plan;
  const plan: Plan = {
    ...written,
    gateway: await resolved(written.gateway),
    broadcast: await resolved(written.broadcast),
  };
  const viewers = new Child<ViewerCounts>("viewers", plan, VIEWS_FILE);
  while (viewers.state === "starting") await sleep(POLL_EVERY_MS);
  const bidders = new Child<BidderCounts>("bidders", plan, BIDS_FILE);
  while (bidders.state === "starting") await sleep(POLL_EVERY_MS);
  viewers.take();
  print({ state: "ready" });
  const timer = setInterval(
    () => print({ second: secondOf(bidders.take(), viewers.take()) }),
    REPORT_EVERY_MS,
  );
  while (!existsSync(join(folder, FINISH_FILE))) await sleep(POLL_EVERY_MS);
  bidders.finish();
  while ((bidders.state as string) !== "finished") await sleep(POLL_EVERY_MS);
  viewers.finish();
  while ((viewers.state as string) !== "finished") await sleep(POLL_EVERY_MS);
  clearInterval(timer);
  print({ second: secondOf(bidders.take(), viewers.take()) });
  print({ state: "finished" });
  const untilMs = Date.now() + KEPT_MS;
  while (!existsSync(join(folder, TAKEN_FILE)) && Date.now() < untilMs) await sleep(POLL_EVERY_MS);
  process.exit(0);
}

process.on("SIGTERM", () => process.exit(0));
await run();
