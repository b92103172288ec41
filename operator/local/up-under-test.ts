/** `make up` as a process of its own, on free ports and in a folder of its own, for one test file. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { once } from "node:events";
import { basename, join } from "node:path";
import { afterEach } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { plainEnv } from "../../services/testing/plain-env.ts";
import { until } from "../../services/testing/until.ts";
import { DataFolder } from "./data-folder.ts";
import { freePort } from "../../servers/ports.ts";
import { removePostgresData } from "../../servers/store-servers.ts";

const MAIN = new URL("main.ts", import.meta.url).pathname;
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const UP_TIMEOUT_MS = 120_000;
const DOWN_TIMEOUT_MS = 60_000;

/** Of what is printed where a test fails: so many of the latest runs, so much of each. */
const TOLD_MAX = 30;
const OUTPUT_MAX = 4_000;

export interface RunningUp {
  readonly pid: number;
  output(): string;
  /** Null when it was killed. */
  readonly ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
}

export class Place {
  readonly root = mkdtempSync(join(tmpdir(), "gavel-up-"));
  readonly folder = new DataFolder(join(this.root, ".gavel"));
  readonly env: Readonly<Record<string, string>>;
  readonly #children: ChildProcess[] = [];
  /** What the test at hand ran, and what it goes on to use. */
  #told: Told[] = [];

  private constructor(env: Record<string, string>) {
    this.env = { ...env, GAVEL_DIR: this.folder.path };
  }

  /** Takes ports, and sees that nothing is left when the test file is done. */
  static async take(): Promise<Place> {
    const variables = ["GATEWAY", "BROADCAST", "REDIS", "NATS", "POSTGRES"];
    const internal = ["GATEWAY", "BROADCAST", "ARCHIVAL"].map((tier) => `${tier}_INTERNAL`);
    const env: Record<string, string> = {};
    for (const name of [...variables, ...internal]) env[`${name}_PORT`] = String(await freePort());
    const place = new Place(env);
    afterFile(() => place.leave());
    return place;
  }

  /**
   * After each test: if it failed, prints what was run and what it said, and ends what runs, so that the
   * next test fails only for reasons of its own.
   * @param onCleared what a test shared with the next is over
   */
  clearAfterFailures(onCleared: () => void = () => {}): void {
    afterEach(async ({ task }) => {
      if (task.result?.state === "fail") {
        const texts = this.#told.map(({ text }) => text());
        process.stderr.write(`"${task.name}" failed; what was said:\n${texts.join("\n")}\n`);
        await this.#clear();
        onCleared();
      }
      this.#told = this.#told.filter(({ runs }) => runs());
    });
  }

  async #clear(): Promise<void> {
    this.gavel(["down"]);
    const left = this.#children.splice(0).filter(isRunning);
    const ends = left.map((child) => once(child, "close"));
    for (const child of left) child.kill("SIGKILL");
    await Promise.all(ends);
  }

  get gatewayUrl(): string {
    return `http://127.0.0.1:${this.env["GATEWAY_PORT"]}`;
  }
  get streamUrl(): string {
    return `ws://127.0.0.1:${this.env["BROADCAST_PORT"]}/v1/stream`;
  }

  write(name: string, text: string): string {
    const path = join(this.root, name);
    writeFileSync(path, text);
    return path;
  }

  up(file: string, env: Record<string, string> = {}): RunningUp {
    const child = spawn(process.execPath, [MAIN, "up", file], {
      env: plainEnv({ ...this.env, ...env }),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    let output = "";
    const words = ["make up", basename(file)];
    const text = () => said(words, env, child.exitCode, output);
    this.#tell({ text, runs: () => isRunning(child) });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => (output += data.toString()));
    }
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    return {
      pid: child.pid!,
      output: () => output,
      ended,
      kill: (signal) => void child.kill(signal),
    };
  }

  /** Waits for its summary. */
  async ready(running: RunningUp): Promise<void> {
    let over = false;
    void running.ended.then(() => (over = true));
    await until(
      "make up is ready",
      () => over || running.output().includes("make up goes on from there"),
      UP_TIMEOUT_MS,
    );
    if (over) throw new Error(`make up ended:\n${running.output()}`);
  }

  gavel(words: readonly string[], env: Record<string, string> = {}) {
    const result = spawnSync(process.execPath, [CLI, ...words], {
      encoding: "utf8",
      env: plainEnv({ ...this.env, ...env }),
      timeout: DOWN_TIMEOUT_MS,
    });
    const { status, stdout, stderr } = result;
    const text = said(["gavel", ...words], env, status, stdout + stderr);
    this.#tell({ text: () => text, runs: () => false });
    return { status, stdout, stderr };
  }

  #tell(told: Told): void {
    this.#told.push(told);
    if (this.#told.length > 2 * TOLD_MAX) this.#told = this.#told.slice(-TOLD_MAX);
  }

  /** The pid that a part runs under now. */
  pidOf(part: string): number {
    const path = join(this.folder.runDir, `${part}.pid.json`);
    return (JSON.parse(readFileSync(path, "utf8")) as { pid: number }).pid;
  }

  async leave(): Promise<void> {
    this.gavel(["down"]);
    for (const child of this.#children) child.kill("SIGKILL");
    removePostgresData(this.folder.storeDir("postgres"));
    rmSync(this.root, { recursive: true, force: true });
  }
}

interface Told {
  text(): string;
  runs(): boolean;
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

function said(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  status: number | null,
  output: string,
): string {
  const given = Object.entries(env).map(([name, value]) => `${name}=${value} `);
  const text = output.length > OUTPUT_MAX ? `…${output.slice(-OUTPUT_MAX)}` : output;
  return `$ ${given.join("")}${words.join(" ")} [${status ?? "no exit code"}]\n${text}`;
}
