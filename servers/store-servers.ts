/**
 * Starts the three stores of an auction as child processes: Redis with `appendfsync always`, NATS with
 * JetStream on disk, and Postgres as a user other than root.
 */
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { randomUUID } from "node:crypto";
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

interface RedisOptions extends StoreOptions {
  /** 0, the default of Redis, is no limit. */
  readonly maxMemoryBytes?: number;
}

const USERS = { redis: "", nats: "gavel", postgres: "gavel" } as const;

/** URL of a store on this machine. @param password null: none is asked for */
export function storeUrl(store: keyof typeof USERS, port: number, password: string | null): string {
  const login = password === null ? "" : `${USERS[store]}:${encodeURIComponent(password)}@`;
  return `${store}://${login}127.0.0.1:${port}${store === "postgres" ? "/postgres" : ""}`;
}

/** Writes a configuration with a password, which only the owner can read; every user can read arguments. */
function writeConfig(dir: string, name: string, text: string): string {
  const file = join(dir, name);
  rmSync(file, { force: true });
  writeFileSync(file, text, { mode: 0o600, flag: "wx" });
  return file;
}

function program(name: string): string {
  const path = findProgram(name);
  if (path === null) throw new Error(`${name} is not installed`);
  return path;
}

/** @param password null: none is asked for */
export async function startRedis(
  options: RedisOptions,
  password: string | null = null,
): Promise<ServerProcess> {
  const { dir, port, maxMemoryBytes = 0 } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 }); // it holds reserves and idempotency keys
  return startServer({
    ...onSpawnOf(options),
    name: "redis-server",
    command: program("redis-server"),
    args: [
      ...(password === null ? [] : [writeConfig(dir, "redis.conf", `requirepass ${password}\n`)]),
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
      "--maxmemory",
      String(maxMemoryBytes),
      "--save",
      "",
    ],
    cwd: dir,
    logFile: join(dir, "redis.log"),
    url: storeUrl("redis", port, password),
    port,
    stopSignal: "SIGTERM",
  });
}

/**
 * @param password of the user `gavel`; null: none is asked for
 * @param settings more lines of its configuration file
 */
export async function startNats(
  options: StoreOptions,
  password: string | null = null,
  settings: readonly string[] = [],
): Promise<ServerProcess> {
  const { dir, port } = options;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const users =
    password === null ? [] : [`authorization { user: "gavel", password: "${password}" }`];
  const lines = users.concat(settings).map((line) => `${line}\n`);
  return startServer({
    ...onSpawnOf(options),
    name: "nats-server",
    command: program("nats-server"),
    args: [
      ...(lines.length === 0 ? [] : ["--config", writeConfig(dir, "nats.conf", lines.join(""))]),
      "--jetstream",
      "--store_dir",
      dir,
      "--addr",
      "127.0.0.1",
      "--port",
      String(port),
    ],
    cwd: dir,
    logFile: join(dir, "nats.log"),
    url: storeUrl("nats", port, password),
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
  const owner = postgresOwner();
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (owner.uid !== undefined) chmodSync(dir, 0o711); // its user may enter the folder, not list it
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
    url: storeUrl("postgres", port, password),
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
 * The data directory: `data` inside `dir`. If the owner cannot enter `dir` (a clone under /root), `data` is a link
 * to a folder in /var/tmp with a name that nobody can guess.
 * @throws Error if what is there is not a folder of Postgres's user
 */
function dataDirectory(dir: string, owner: Owner): string {
  const data = join(resolve(dir), "data");
  // The target of the link: the owner cannot follow a link through a folder that only root may enter.
  if (lstatSync(data, { throwIfNoEntry: false }) !== undefined) return ownDirectory(data, owner);
  let target = data;
  if (owner.uid !== undefined && !canReach(resolve(dir), owner)) {
    target = mkdtempSync("/var/tmp/gavel-");
    symlinkSync(target, data);
  } else {
    mkdirSync(data, { mode: 0o700 });
  }
  if (owner.uid !== undefined) chownSync(target, owner.uid, owner.gid);
  return realpathSync(data);
}

/** Every user may create a folder in /var/tmp: a replaced folder must not be used as the data of Postgres. */
function ownDirectory(data: string, owner: Owner): string {
  if (!existsSync(data))
    throw new Error(
      `the data of Postgres is gone: ${data} is a link to nothing; restore it from a backup, or delete all data with make reset`,
    );
  const uid = owner.uid ?? process.getuid?.();
  const target = realpathSync(data);
  const found = lstatSync(target);
  const isPrivate = (found.mode & 0o077) === 0;
  if (!found.isDirectory() || (uid !== undefined && found.uid !== uid) || !isPrivate)
    throw new Error(
      `${target} is not the data of Postgres: it must be a folder of user ${uid} with mode 0700 (it is of user ${found.uid}, mode ${(found.mode & 0o7777).toString(8)})`,
    );
  return target;
}

/** Removes the data of a stopped Postgres, including a data directory in /var/tmp. */
export function removePostgresData(dir: string): void {
  const data = join(resolve(dir), "data");
  const link = lstatSync(data, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  if (link && existsSync(data)) rmSync(ownDirectory(data, postgresOwner()), { recursive: true });
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
  const passwordFile = `/var/tmp/gavel-${randomUUID()}`;
  writeFileSync(passwordFile, password, { mode: 0o600, flag: "wx" }); // fails if somebody planted a link
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
