/** Starts a third-party server as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { endWithParent } from "./end-with-parent.ts";
import { isPortInUse } from "./ports.ts";

export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the process has exited, for whatever reason. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends the stop signal, then SIGKILL after 10 s. Resolves when the process has exited. */
  stop(): Promise<void>;
  /** Sends SIGKILL, as a crash would. Resolves when the process has exited. */
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

interface ServerCommand {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
  readonly url: string;
  readonly port: number;
  /** The signal for a graceful stop. */
  readonly stopSignal: NodeJS.Signals;
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: NodeJS.ProcessEnv;
  /**
   * Called right after the spawn, before the server accepts connections, so that a caller that crashes has the pid
   * on record. Without it the server ends with its parent, however that ends.
   */
  readonly onSpawn?: (pid: number) => void;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

/**
 * Starts the server in its own process group and waits until it accepts connections.
 * @throws Error if the port is in use, or if the server exits or does not listen within 30 s
 */
export async function startServer(command: ServerCommand): Promise<ServerProcess> {
  const { name, args, cwd, logFile, port, uid, gid } = command;
  if (await isPortInUse(port))
    throw new Error(`${name}: port ${port} is in use by another process`);

  const log = createWriteStream(logFile, { flags: "a" });
  await once(log, "open");
  const [program, words] =
    command.onSpawn === undefined
      ? endWithParent(command.command, args)
      : [command.command, [...args]];
  const child = spawn(program, words, {
    cwd,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...command.env },
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const ended = exitOf(child);
  if (child.pid !== undefined) command.onSpawn?.(child.pid);
  void ended.then(() => log.end());
  const outcome = await Promise.race([untilListening(port), ended]);
  if (outcome !== "listening") {
    child.kill("SIGKILL");
    const reason =
      outcome === "timeout"
        ? `did not listen within ${START_TIMEOUT_MS} ms`
        : `exited at start (${outcome.signal ?? `code ${outcome.code}`})`;
    throw new Error(`${name} ${reason}; see ${logFile}`);
  }
  return {
    url: command.url,
    port,
    pid: child.pid!,
    ended,
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      child.kill(command.stopSignal);
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}

function exitOf(child: ChildProcess): ServerProcess["ended"] {
  return new Promise((resolve) => {
    child.once("error", () => resolve({ code: 127, signal: null }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

async function untilListening(port: number): Promise<"listening" | "timeout"> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    if (await isPortInUse(port)) return "listening";
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return "timeout";
}
