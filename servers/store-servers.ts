/**
 * Starts the three stores of an auction as child processes: Redis with `appendfsync always`, NATS with
 * JetStream on disk, and Postgres as a user other than root.
 */
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import {
  chownSync,
  existsSync,
  mkdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { findProgram } from "./find-program.ts";
import { type ServerProcess, startServer } from "./server-process.ts";

const run = promisify(execFile);

export interface StoreOptions {
  /** Folder for data and log. It is created if it is missing. */
  readonly dir: string;
  readonly port: number;
  readonly onSpawn?: (pid: number) => void;
}

function program(name: string): string {
  const path = findProgram(name);
  if (path === null) throw new Error(`${name} is not installed`);
  return path;
}

export async function startRedis(options: StoreOptions): Promise<ServerProcess> {
  const { dir, port } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 }); // it holds reserves and idempotency keys
  return startServer({
    ...onSpawnOf(options),
    name: "redis-server",
    command: program("redis-server"),
    args: [
      "--port",
      String(port),
      "--bind",
      "127.0.0.1",
      "--dir",
      dir,
      "--appendonly",
      "yes",
      "--appendfsync",
      "always",
      "--maxmemory-policy",
      "noeviction",
      "--save",
      "",
    ],
    cwd: dir,
    logFile: join(dir, "redis.log"),
    url: `redis://127.0.0.1:${port}`,
    port,
    stopSignal: "SIGTERM",
  });
}

export async function startNats(options: StoreOptions): Promise<ServerProcess> {
  const { dir, port } = options;
  mkdirSync(dir, { recursive: true });
  return startServer({
    ...onSpawnOf(options),
    name: "nats-server",
    command: program("nats-server"),
    args: ["--jetstream", "--store_dir", dir, "--addr", "127.0.0.1", "--port", String(port)],
    cwd: dir,
    logFile: join(dir, "nats.log"),
    url: `nats://127.0.0.1:${port}`,
    port,
    stopSignal: "SIGTERM",
  });
}

/**
 * @param password of the role `gavel`; set once, when the data directory is initialised
 * @param fill fills a new data directory
 */
export async function startPostgres(
  options: StoreOptions,
  password: string,
  fill: typeof initialise = initialise,
): Promise<ServerProcess> {
  const { dir, port } = options;
  mkdirSync(dir, { recursive: true });
  const owner = postgresOwner();
  const data = dataDirectory(dir, owner);
  if (!existsSync(join(data, "PG_VERSION"))) await fill(data, owner, password);
  return startServer({
    ...onSpawnOf(options),
    name: "postgres",
    command: program("postgres"),
    args: [
      "-D",
      data,
      "-p",
      String(port),
      "-h",
      "127.0.0.1",
      // No socket file: its path may exceed the limit of the system, and every connection uses TCP.
      "-c",
      "unix_socket_directories=",
      "-c",
      "max_connections=50",
    ],
    cwd: data,
    logFile: join(dir, "postgres.log"),
    url: `postgres://gavel:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`,
    port,
    stopSignal: "SIGINT", // "fast" shutdown: it ends sessions; SIGTERM would wait for them
    ...owner,
  });
}

function onSpawnOf({ onSpawn }: StoreOptions): Pick<StoreOptions, "onSpawn"> {
  return onSpawn === undefined ? {} : { onSpawn };
}

export type Owner = { uid: number; gid: number } | Record<string, never>;

/** Postgres refuses to run as root. If we are root, it runs as `postgres`, else as `nobody`. */
function postgresOwner(): Owner {
  if (process.getuid?.() !== 0) return {};
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, user], { stdio: "pipe" }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // This user does not exist: try the next one.
    }
  }
  throw new Error(
    "postgres cannot run as root, and this machine has neither a user postgres nor nobody: create one, or run as another user",
  );
}

/**
 * The data directory: `data` inside `dir`. If the owner cannot enter `dir` (a clone under /root),
 * `data` is a link to a folder in /var/tmp.
 */
function dataDirectory(dir: string, owner: Owner): string {
  const data = join(resolve(dir), "data");
  // The target of the link: the owner cannot follow a link through a folder that only root may enter.
  if (existsSync(data)) return realpathSync(data);
  let target = data;
  if (owner.uid !== undefined && !canReach(resolve(dir), owner)) {
    target = `/var/tmp/gavel-${createHash("sha256").update(data).digest("hex").slice(0, 12)}`;
    mkdirSync(target, { recursive: true, mode: 0o700 });
    symlinkSync(target, data);
  } else {
    mkdirSync(data, { mode: 0o700 });
  }
  if (owner.uid !== undefined) chownSync(target, owner.uid, owner.gid);
  return realpathSync(data);
}

/** Removes the data of a stopped Postgres, including a data directory in /var/tmp. */
export function removePostgresData(dir: string): void {
  const data = join(resolve(dir), "data");
  if (existsSync(data)) rmSync(realpathSync(data), { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
}

function canReach(dir: string, owner: Owner): boolean {
  try {
    execFileSync("test", ["-x", dir], { ...owner, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Runs initdb. Asynchronous, because it takes seconds while other servers start. */
export async function initialise(data: string, owner: Owner, password: string): Promise<void> {
  const passwordFile = `/var/tmp/gavel-${process.pid}-${Date.now()}`;
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (owner.uid !== undefined) chownSync(passwordFile, owner.uid, owner.gid);
  try {
    const args = ["-D", data, "-U", "gavel", "-A", "scram-sha-256", `--pwfile=${passwordFile}`];
    await run(program("initdb"), [...args, "-E", "UTF8", "--locale=C", "--no-sync"], {
      cwd: "/",
      ...owner,
    });
  } finally {
    execFileSync("rm", ["-f", passwordFile]);
  }
}
