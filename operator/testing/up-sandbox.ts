/** Runs `make up` as a child process for one test file, with free ports and a temporary folder. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { once } from "node:events";
import { basename, join } from "node:path";
import { afterEach } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { plainEnv } from "../../services/testing/plain-env.ts";
import { until } from "../../services/testing/until.ts";
import { readOnlyQuery } from "../../services/archival/postgres/query.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { signLocalToken } from "../local/local-token.ts";
import { DataFolder } from "../local/data-folder.ts";
import { SUMMARY_END } from "../local/summary.ts";
import { freePort } from "../../servers/ports.ts";
import { removePostgresData } from "../../servers/store-servers.ts";

const MAIN = new URL("../local/main.ts", import.meta.url).pathname;
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const UP_TIMEOUT_MS = 120_000;
const DOWN_TIMEOUT_MS = 60_000;

/** A failed test prints this many of the latest commands, and this many characters of each. */
const TRANSCRIPTS_MAX = 30;
const OUTPUT_MAX_CHARACTERS = 4_000;

const TOKEN_LIFETIME_SECONDS = 3_600;

export interface RunningUp {
  readonly pid: number;
  output(): string;
  /** The exit code; null if it was killed. */
  readonly ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): void;
}

export class UpSandbox {
  readonly root = mkdtempSync(join(tmpdir(), "gavel-up-"));
  /** The command line, as a file. */
  readonly cli = CLI;
  readonly folder = new DataFolder(join(this.root, ".gavel"));
  readonly env: Readonly<Record<string, string>>;
  readonly #children: ChildProcess[] = [];
  /** Commands of the current test, and earlier ones that still run. */
  #transcripts: Transcript[] = [];

  private constructor(env: Record<string, string>) {
    this.env = { ...env, GAVEL_DIR: this.folder.path };
  }

  /** Reserves ports. Everything is stopped and deleted after the test file. */
  static async create(): Promise<UpSandbox> {
    const variables = ["GATEWAY", "BROADCAST", "REDIS", "NATS", "POSTGRES"];
    const internal = ["GATEWAY", "BROADCAST", "ARCHIVAL"].map((tier) => `${tier}_INTERNAL`);
    const env: Record<string, string> = {};
    for (const name of [...variables, ...internal]) env[`${name}_PORT`] = String(await freePort());
    const sandbox = new UpSandbox(env);
    afterFile(() => sandbox.#remove());
    return sandbox;
  }

  /**
   * After a failed test: prints its commands with their output and stops every process, so that the next
   * test starts clean.
   * @param onCleared called then; a run that tests share has been stopped
   */
  clearAfterFailures(onCleared: () => void = () => {}): void {
    afterEach(async ({ task }) => {
      if (task.result?.state === "fail") {
        const texts = this.#transcripts.map(({ text }) => text());
        process.stderr.write(`"${task.name}" failed; its commands:\n${texts.join("\n")}\n`);
        await this.#clear();
        onCleared();
      }
      this.#transcripts = this.#transcripts.filter(({ isActive }) => isActive());
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
    const text = () => transcriptText(words, env, child.exitCode, output);
    this.#record({ text, isActive: () => isRunning(child) });
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

  /** Waits until `make up` has printed its summary. */
  async ready(running: RunningUp): Promise<void> {
    let exited = false;
    void running.ended.then(() => (exited = true));
    await until(
      "make up is ready",
      () => exited || running.output().includes(SUMMARY_END),
      UP_TIMEOUT_MS,
    );
    if (exited) throw new Error(`make up exited:\n${running.output()}`);
  }

  gavel(words: readonly string[], env: Record<string, string> = {}) {
    const result = spawnSync(process.execPath, [CLI, ...words], {
      encoding: "utf8",
      env: plainEnv({ ...this.env, ...env }),
      timeout: DOWN_TIMEOUT_MS,
    });
    const { status, stdout, stderr } = result;
    const text = transcriptText(["gavel", ...words], env, status, stdout + stderr);
    this.#record({ text: () => text, isActive: () => false });
    return { status, stdout, stderr };
  }

  /** Places a bid over HTTP. Signs the token itself, which is cheaper than `gavel token`. */
  async bid(lotId: string, amountMinor: number, bidder: string): Promise<Response> {
    const token = await signLocalToken(this.folder, bidder, "bid", TOKEN_LIFETIME_SECONDS);
    return fetch(`${this.gatewayUrl}/v1/lots/${lotId}/bids`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        "idempotency-key": crypto.randomUUID(),
      },
      body: JSON.stringify({ amountMinor }),
    });
  }

  /** Rows of the archive. A test that waits for a row asks often; `gavel sql` would be a process each time. */
  async query(statement: string): Promise<readonly (readonly unknown[])[]> {
    const url = readSecretFile(this.folder.urlFile("postgres"));
    return (await readOnlyQuery(url, statement)).rows;
  }

  #record(transcript: Transcript): void {
    this.#transcripts.push(transcript);
    if (this.#transcripts.length > 2 * TRANSCRIPTS_MAX) {
      this.#transcripts = this.#transcripts.slice(-TRANSCRIPTS_MAX);
    }
  }

  /** The current pid of a store or tier. */
  pidOf(name: string): number {
    const path = join(this.folder.runDir, `${name}.pid.json`);
    return (JSON.parse(readFileSync(path, "utf8")) as { pid: number }).pid;
  }

  async #remove(): Promise<void> {
    this.gavel(["down"]);
    for (const child of this.#children) child.kill("SIGKILL");
    removePostgresData(this.folder.storeDir("postgres"));
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A command and its output. */
interface Transcript {
  text(): string;
  isActive(): boolean;
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

function transcriptText(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  status: number | null,
  output: string,
): string {
  const given = Object.entries(env).map(([name, value]) => `${name}=${value} `);
  const text =
    output.length > OUTPUT_MAX_CHARACTERS ? `…${output.slice(-OUTPUT_MAX_CHARACTERS)}` : output;
  return `$ ${given.join("")}${words.join(" ")} [${status ?? "no exit code"}]\n${text}`;
}
