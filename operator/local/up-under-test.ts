/** `make up` as a process of its own, on free ports and in a folder of its own, for one test file. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterFile } from "../../services/testing/after-file.ts";
import { until } from "../../services/testing/until.ts";
import { DataFolder } from "./data-folder.ts";
import { freePort } from "./server-process.ts";
import { removeData } from "./store-servers.ts";

const MAIN = new URL("main.ts", import.meta.url).pathname;
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const UP_TIMEOUT_MS = 60_000;
const DOWN_TIMEOUT_MS = 30_000;

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
      env: { ...process.env, ...this.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    let output = "";
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
      env: { ...process.env, ...this.env, ...env },
      timeout: DOWN_TIMEOUT_MS,
    });
    return { status: result.status, stdout: result.stdout, stderr: result.stderr };
  }

  /** The pid that a part runs under now. */
  pidOf(part: string): number {
    const path = join(this.folder.runDir, `${part}.pid.json`);
    return (JSON.parse(readFileSync(path, "utf8")) as { pid: number }).pid;
  }

  async leave(): Promise<void> {
    this.gavel(["down"]);
    for (const child of this.#children) child.kill("SIGKILL");
    removeData(this.folder.storeDir("postgres"));
    rmSync(this.root, { recursive: true, force: true });
  }
}
