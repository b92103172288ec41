/** A server of somebody else's as a process of this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { connect, createServer } from "node:net";

export interface ServerProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Settles when it ended, for whatever reason. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Asks it to stop, kills it when it takes longer than 10 s, and waits for its end. */
  stop(): Promise<void>;
  /** SIGKILL: as a crash would. Waits for its end. */
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

export interface Command {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
  readonly url: string;
  readonly port: number;
  /** The signal that means "stop in good order". */
  readonly stopSignal: NodeJS.Signals;
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** Told at once, before the server answers: whoever dies meanwhile has it on record. */
  readonly onSpawn?: (pid: number) => void;
}

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;

/** Starts it in a process group of its own, and waits until it takes connections. */
export async function startServer(command: Command): Promise<ServerProcess> {
  const { name, args, cwd, logFile, port, uid, gid } = command;
  if (await isTaken(port)) throw new Error(`${name}: port ${port} is in use by another process`);

  const log = createWriteStream(logFile, { flags: "a" });
  await once(log, "open");
  const child = spawn(command.command, args, {
    cwd,
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env, ...command.env },
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  });
  const ended = endOf(child);
  if (child.pid !== undefined) command.onSpawn?.(child.pid);
  void ended.then(() => log.end());
  const started = await Promise.race([answers(port), ended.then(() => "ended" as const)]);
  if (started !== true) {
    child.kill("SIGKILL");
    const why = started === "ended" ? "ended at once" : `did not answer in ${START_TIMEOUT_MS} ms`;
    throw new Error(`${name} ${why}; see ${logFile}`);
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

function endOf(child: ChildProcess): ServerProcess["ended"] {
  return new Promise((resolve) => {
    child.once("error", () => resolve({ code: 127, signal: null }));
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
}

async function answers(port: number): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    if (await isTaken(port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

/** Whether something on this machine listens on a port. */
export function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 1_000 });
    const settle = (taken: boolean) => {
      socket.destroy();
      resolve(taken);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
    socket.once("timeout", () => settle(true));
  });
}

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    server.close();
    await once(server, "close");
    if (address === null || typeof address === "string") throw new Error("no port");
    if (given.has(address.port)) continue;
    given.add(address.port);
    return address.port;
  }
}

/** What is given is used a little later: the kernel may offer it again before that. */
const given = new Set<number>();
