/** Runs the measured process and the measuring process on separate cores. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../servers/end-with-parent.ts";

export const SERVER_CORE = 0;
export const CLIENT_CORE = 1;

const PINS = existsSync("/usr/bin/taskset") && availableParallelism() >= 2;

/** How the processes are pinned, for the report. */
export const PINNING = PINS
  ? `server on core ${SERVER_CORE}, load and Redis on core ${CLIENT_CORE}`
  : "not pinned (taskset missing or one core): ratios are noisy";

export interface Pinned {
  readonly child: ChildProcess;
  /** The next message from the process. */
  next<T>(): Promise<T>;
  send(message: unknown): void;
  stop(): Promise<void>;
}

/** Starts a program of this repository (path relative to its root) on a core. */
export function runPinned(
  core: number,
  program: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Pinned {
  const script = fileURLToPath(new URL(`../${program}`, import.meta.url));
  const command = [process.execPath, "--max-semi-space-size=64", script, ...args];
  const [file, ...words] = PINS ? ["taskset", "-c", String(core), ...command] : command;
  const child = spawn(...endWithParent(file!, words), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { ...process.env, ...env },
  });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  const messages: unknown[] = [];
  const waiting: ((message: never) => void)[] = [];
  child.on("message", (message) => {
    const settle = waiting.shift();
    if (settle) settle(message as never);
    else messages.push(message);
  });
  const ended = once(child, "exit").then(([code]) => {
    process.off("exit", end);
    if (waiting.length > 0) throw new Error(`${program} ended with code ${code}`);
  });
  ended.catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
  return {
    child,
    next: () =>
      messages.length > 0
        ? Promise.resolve(messages.shift() as never)
        : new Promise((resolve) => waiting.push(resolve)),
    send: (message) => void child.send(message as object),
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Pins a running process to a core. */
export async function pin(pid: number, core: number): Promise<void> {
  if (!PINS) return;
  const moved = spawn("taskset", ["-cpa", String(core), String(pid)], { stdio: "ignore" });
  await once(moved, "exit");
}

/** CPU seconds that a process has used; NaN without /proc. */
export function cpuSecondsOf(pid: number): number {
  const stat = `/proc/${pid}/stat`;
  if (!existsSync(stat)) return NaN;
  // After the name, which may hold spaces: utime and stime are the 12th and 13th, in 1/100 s.
  const fields = readFileSync(stat, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
