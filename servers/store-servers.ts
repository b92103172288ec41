/**
 * The three servers under an auction, started the way an auction needs them: Redis with every write
 * on disk before its answer, NATS with JetStream on disk, Postgres as a user that is not root.
 */
import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { delimiter, join, resolve } from "node:path";
import { type ServerProcess, startServer } from "./server-process.ts";

const run = promisify(execFile);

export interface At {
  /** Its data and its log lie here; made if missing. */
  readonly dir: string;
  readonly port: number;
  readonly onSpawn?: (pid: number) => void;
}

/** Debian keeps Postgres's server programs off PATH, one folder a version. */
const POSTGRES_HOMES = "/usr/lib/postgresql";

/** The full path of a program: on PATH, or where Debian hides it. Null where it is not installed. */
export function findProgram(name: string): string | null {
  const postgresBins = existsSync(POSTGRES_HOMES)
    ? readdirSync(POSTGRES_HOMES)
        .sort((a, b) => Number(b) - Number(a))
        .map((version) => join(POSTGRES_HOMES, version, "bin"))
    : [];
  const onPath = (process.env["PATH"] ?? "").split(delimiter);
  const folders = [...postgresBins, ...onPath, "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

function program(name: string): string {
  const path = findProgram(name);
  if (path === null) throw new Error(`${name} is not installed`);
  return path;
}

export async function startRedis(at: At): Promise<ServerProcess> {
  const { dir, port } = at;
  mkdirSync(dir, { recursive: true, mode: 0o700 }); // it holds reserves and keys
  return startServer({
    ...onSpawnOf(at),
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

export async function startNats(at: At): Promise<ServerProcess> {
  const { dir, port } = at;
  mkdirSync(dir, { recursive: true });
  return startServer({
    ...onSpawnOf(at),
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

/** @param password of the role and database `gavel`, fixed when the data directory is made */
export async function startPostgres(at: At, password: string): Promise<ServerProcess> {
  const { dir, port } = at;
  mkdirSync(dir, { recursive: true });
  const owner = postgresOwner();
  const data = dataDirectory(dir, owner);
  if (!existsSync(join(data, "PG_VERSION"))) await initialise(data, owner, password);
  return startServer({
    ...onSpawnOf(at),
    name: "postgres",
    command: program("postgres"),
    args: [
      "-D",
      data,
      "-p",
      String(port),
      "-h",
      "127.0.0.1",
      // No socket file: its path may be too long, and nobody needs it.
      "-c",
      "unix_socket_directories=",
      "-c",
      "max_connections=50",
    ],
    cwd: data,
    logFile: join(dir, "postgres.log"),
    url: `postgres://gavel:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`,
    port,
    stopSignal: "SIGINT", // "fast": breaks off sessions; SIGTERM would wait for them
    ...owner,
  });
}

function onSpawnOf({ onSpawn }: At): Pick<At, "onSpawn"> {
  return onSpawn === undefined ? {} : { onSpawn };
}

type Owner = { uid: number; gid: number } | Record<string, never>;

/** Postgres refuses to be root: as root, it runs as `postgres`, else as `nobody`. */
function postgresOwner(): Owner {
  if (process.getuid?.() !== 0) return {};
  for (const user of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, user], { stdio: "pipe" }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // No such user: the next one.
    }
  }
  throw new Error("postgres cannot run as root, and there is neither a user postgres nor nobody");
}

/**
 * `data` inside `dir`; where its owner cannot reach that (a clone under /root), a folder in /var/tmp
 * that `data` then links to.
 */
function dataDirectory(dir: string, owner: Owner): string {
  const data = join(resolve(dir), "data");
  // Its real place: the way through a folder that only root may enter is closed to the owner.
  if (existsSync(data)) return realpathSync(data);
  let made = data;
  if (owner.uid !== undefined && !canReach(resolve(dir), owner)) {
    made = `/var/tmp/gavel-${createHash("sha256").update(data).digest("hex").slice(0, 12)}`;
    mkdirSync(made, { recursive: true, mode: 0o700 });
    symlinkSync(made, data);
  } else {
    mkdirSync(data, { mode: 0o700 });
  }
  if (owner.uid !== undefined) chownSync(made, owner.uid, owner.gid);
  return realpathSync(data);
}

/** Removes what a stopped Postgres left, the folder in /var/tmp included. */
export function removeData(dir: string): void {
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

/** Off the event loop: it takes seconds, and other servers are starting. */
async function initialise(data: string, owner: Owner, password: string): Promise<void> {
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
