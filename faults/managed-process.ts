/** A process of the auction under test that can be killed, frozen, stopped and restarted. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ServerProcess } from "../servers/server-process.ts";
import { until } from "../services/testing/until.ts";

export interface ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly pid: number;
  isRunning(): boolean;
  signal(signal: NodeJS.Signals): void;
  /** Sends SIGKILL and waits until the process has ended. */
  kill(): Promise<void>;
  /** Sends SIGTERM and waits until the process has ended. @returns the exit code; null when it had to be killed */
  terminate(): Promise<number | null>;
  /** Starts it again on the same port with the same data. Does nothing when it runs. */
  start(more?: NodeJS.ProcessEnv): Promise<void>;
}

const STOP_TIMEOUT_MS = 15_000;
const START_TIMEOUT_MS = 60_000;

/** Whether a process exists and is not a zombie. */
export function isAlive(pid: number): boolean {
  const state = stateOf(pid);
  return state !== null && state !== "Z";
}

/** State of a process in /proc: R, S, D, T (stopped) or Z; null: no such process. */
export function stateOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2)[0]!;
  } catch {
    return null;
  }
}

export function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  return list === "" ? [] : list.split(" ").map(Number);
}

export class TierProcess implements ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly #tier: string;
  readonly #internalPort: number;
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;

  constructor(
    name: string,
    tier: string,
    internalPort: number,
    env: NodeJS.ProcessEnv,
    logFile: string,
  ) {
    this.name = name;
    this.#tier = tier;
    this.#internalPort = internalPort;
    this.#env = env;
    this.logFile = logFile;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  isRunning(): boolean {
    const child = this.#child;
    return child !== null && child.exitCode === null && child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    if (!this.isRunning()) return;
    const ended = once(this.#child!, "exit");
    this.signal("SIGKILL");
    await ended;
  }

  async terminate(): Promise<number | null> {
    if (!this.isRunning()) return null;
    const ended = once(this.#child!, "exit");
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), STOP_TIMEOUT_MS);
    const [code] = (await ended) as [number | null];
    clearTimeout(timer);
    return code;
  }

  /** @param more additional environment for this start only, such as `NODE_OPTIONS` */
  async start(more: NodeJS.ProcessEnv = {}): Promise<void> {
    if (this.isRunning()) return;
    const main = fileURLToPath(new URL(`../services/${this.#tier}/main.ts`, import.meta.url));
    const log = createWriteStream(this.logFile, { flags: "a" });
    await once(log, "open");
    const child = spawn(process.execPath, [main], {
      env: { ...process.env, ...this.#env, ...more },
      stdio: ["ignore", log, log],
    });
    this.#child = child;
    child.once("exit", () => log.end());
    // Not /readyz: a fault may keep its dependencies down.
    await until(
      `${this.name} lives`,
      async () => {
        if (!this.isRunning()) throw new Error(`process ended; see ${this.logFile}`);
        return (await fetch(`http://127.0.0.1:${this.#internalPort}/livez`)).ok;
      },
      START_TIMEOUT_MS,
    );
  }
}

export class StoreProcess implements ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly #launch: () => Promise<ServerProcess>;
  #server: ServerProcess;
  #running = true;

  static async launch(
    name: string,
    logFile: string,
    launch: () => Promise<ServerProcess>,
  ): Promise<StoreProcess> {
    return new StoreProcess(name, logFile, launch, await launch());
  }

  private constructor(
    name: string,
    logFile: string,
    launch: () => Promise<ServerProcess>,
    server: ServerProcess,
  ) {
    this.name = name;
    this.logFile = logFile;
    this.#launch = launch;
    this.#server = server;
    this.#watch(server);
  }

  get pid(): number {
    return this.#server.pid;
  }

  isRunning(): boolean {
    return this.#running;
  }

  signal(signal: NodeJS.Signals): void {
    this.#server.signal(signal);
  }

  kill(): Promise<void> {
    return this.#server.kill();
  }

  async terminate(): Promise<number | null> {
    await this.#server.stop();
    return (await this.#server.ended).code;
  }

  async start(): Promise<void> {
    if (this.#running) return;
    // Postgres does not start until the children of the killed one have ended.
    const launched = await until(`${this.name} starts`, () => this.#launch(), START_TIMEOUT_MS);
    this.#server = launched;
    this.#watch(launched);
  }

  #watch(server: ServerProcess): void {
    this.#running = true;
    void server.ended.then(() => {
      if (this.#server === server) this.#running = false;
    });
  }
}
