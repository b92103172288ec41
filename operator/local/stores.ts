/** Starts the three stores of this machine, each as a program or a container, and checks their readiness. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { createReaderRole, READER_ROLE } from "../../services/archival/postgres/reader-role.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { LocalEnv } from "./config.ts";
import type { StoreName } from "../api/components.ts";
import { type DataFolder, writeAtomically, writeSecret } from "./data-folder.ts";
import type { Source } from "./choose-sources.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";
import { startNats, startPostgres, startRedis, storeUrl } from "../../servers/store-servers.ts";

export function storePorts(env: LocalEnv): Record<StoreName, number> {
  return { redis: env.REDIS_PORT, nats: env.NATS_PORT, postgres: env.POSTGRES_PORT };
}

/**
 * Starts a store, waits until it accepts commands, and writes its URL to the folder.
 * @param maxMemoryBytes of Redis
 */
export async function startStore(
  store: StoreName,
  source: Source,
  folder: DataFolder,
  env: LocalEnv,
  maxMemoryBytes: number,
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const options = { dir: folder.storeDir(store), port: storePorts(env)[store], onSpawn };
  const password = readSecretFile(folder.passwordFile(store));
  const start = {
    redis: () => startRedis({ ...options, maxMemoryBytes }, password),
    nats: () => startNats(options, password),
    postgres: () => startPostgres(options, password),
  };
  const server = await (source === "program"
    ? start[store]()
    : startContainer(store, folder, env, password, maxMemoryBytes, onSpawn));
  try {
    if (!(await untilStoreReady(store, server, password)))
      throw new Error(
        `${store} started but does not accept commands; see ${folder.logFile(store)}`,
      );
    if (store === "postgres") await writeReaderUrl(server.url, folder);
  } catch (error) {
    await server.kill();
    throw error;
  }
  writeSecret(folder.urlFile(store), server.url);
  return server;
}

/** Creates the role of `make sql`, also in a data folder of an earlier version. */
async function writeReaderUrl(ownerUrl: string, folder: DataFolder): Promise<void> {
  const password = readSecretFile(folder.readerPasswordFile);
  await createReaderRole(ownerUrl, password);
  const url = new URL(ownerUrl);
  [url.username, url.password] = [READER_ROLE, password];
  writeSecret(folder.readerUrlFile, url.href);
}

/** Unique per folder and store, so that two clones on one machine do not share a container. */
export function containerName(store: StoreName, folder: DataFolder): string {
  const id = createHash("sha256").update(folder.path).digest("hex").slice(0, 8);
  return `gavel-${id}-${store}`;
}

async function startContainer(
  store: StoreName,
  folder: DataFolder,
  env: LocalEnv,
  password: string,
  maxMemoryBytes: number,
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const dir = folder.storeDir(store);
  mkdirSync(dir, { recursive: true });
  const name = containerName(store, folder);
  removeContainer(name); // left by a crashed run
  const { image, containerPort, dataDir, config, options, args } = CONTAINERS[store];
  const configFile = join(dir, `${store}.conf`);
  if (config !== undefined) writeAtomically(configFile, config);
  pullImage(env[image]);
  const port = storePorts(env)[store];
  const publish = `127.0.0.1:${port}:${containerPort}`;
  return startServer({
    name: store,
    command: "docker",
    args: [
      "run",
      "--rm",
      "--name",
      name,
      "-p",
      publish,
      "-v",
      `${name}:${dataDir}`,
      ...(config === undefined ? [] : ["-v", `${configFile}:/${store}.conf:ro`]),
      ...options,
      env[image],
      ...args,
    ],
    cwd: dir,
    logFile: folder.logFile(store),
    url: storeUrl(store, port, password),
    port,
    stopSignal: store === "postgres" ? "SIGINT" : "SIGTERM", // `docker run` forwards signals
    onSpawn,
    env: {
      POSTGRES_USER: "gavel",
      POSTGRES_DB: "postgres",
      POSTGRES_PASSWORD: password,
      REDIS_PASSWORD: password,
      REDIS_MAXMEMORY: String(maxMemoryBytes),
      NATS_PASSWORD: `"${password}"`, // in quotes: NATS reads the value as a part of its configuration
      PGDATA: "/var/lib/postgresql/data/pgdata",
    },
  });
}

interface Container {
  /** Variable that names the image. */
  readonly image: "REDIS_IMAGE" | "NATS_IMAGE" | "POSTGRES_IMAGE";
  readonly containerPort: number;
  readonly dataDir: string;
  /** Text of the file `/<store>.conf` in the container. */
  readonly config?: string;
  /** Further options of `docker run`. */
  readonly options: readonly string[];
  readonly args: readonly string[];
}

/** Redis reads the password from standard input: other users can read arguments. */
const REDIS_COMMAND = `exec redis-server - --dir /data --appendonly yes --appendfsync always --maxmemory-policy noeviction --protected-mode no --save '' <<END
requirepass $REDIS_PASSWORD
maxmemory $REDIS_MAXMEMORY
END`;

/** Names the variable, and does not contain the password. */
const NATS_CONFIG = 'authorization { user: "gavel", password: $NATS_PASSWORD }\n';

const CONTAINERS: Readonly<Record<StoreName, Container>> = {
  redis: {
    image: "REDIS_IMAGE",
    containerPort: 6379,
    dataDir: "/data",
    options: ["-e", "REDIS_PASSWORD", "-e", "REDIS_MAXMEMORY"],
    args: ["sh", "-c", REDIS_COMMAND],
  },
  nats: {
    image: "NATS_IMAGE",
    containerPort: 4222,
    dataDir: "/data",
    config: NATS_CONFIG,
    options: ["-e", "NATS_PASSWORD"],
    args: ["--config", "/nats.conf", "--jetstream", "--store_dir", "/data"],
  },
  postgres: {
    image: "POSTGRES_IMAGE",
    containerPort: 5432,
    dataDir: "/var/lib/postgresql/data",
    // `-e NAME` takes the value from the environment: other users can read arguments.
    options: "-e POSTGRES_USER -e POSTGRES_DB -e POSTGRES_PASSWORD -e PGDATA".split(" "),
    args: [],
  },
};

const DOCKER_TIMEOUT_MS = 30_000;
const PULL_TIMEOUT_MS = 600_000;

/** Pulls before the start and shows the progress, so that a slow network does not look like a failed start. */
function pullImage(image: string): void {
  const inspected = spawnSync("docker", ["image", "inspect", image], { stdio: "ignore" });
  if (inspected.status === 0) return;
  const pull = spawnSync("docker", ["pull", image], { stdio: "inherit", timeout: PULL_TIMEOUT_MS });
  if (pull.status !== 0) throw new Error(`docker pull ${image} failed; its output is above`);
}

export function removeContainer(name: string): void {
  spawnSync("docker", ["rm", "-f", name], { stdio: "ignore", timeout: DOCKER_TIMEOUT_MS });
}

export function removeVolume(name: string): void {
  spawnSync("docker", ["volume", "rm", "-f", name], {
    stdio: "ignore",
    timeout: DOCKER_TIMEOUT_MS,
  });
}

/** Postgres in Docker initialises its data at its first start. */
const STORE_READY_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 1_000;

async function untilStoreReady(
  store: StoreName,
  server: ServerProcess,
  password: string,
): Promise<boolean> {
  let exited = false;
  void server.ended.then(() => (exited = true));
  const deadline = Date.now() + STORE_READY_TIMEOUT_MS;
  while (!exited && Date.now() < deadline) {
    if (await isStoreReady(store, server.port, password)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** The StartupMessage of protocol 3.0. Postgres answers it with an error while it recovers. */
const POSTGRES_STARTUP = Buffer.from("\0\0\0\x14\0\x03\0\0user\0gavel\0\0", "latin1");

/**
 * Whether a store of this kind listens on the port and accepts commands. A Redis that loads its data does not.
 * @param password null: a store of a run of an earlier version, which has none
 */
export function isStoreReady(
  store: StoreName,
  port: number,
  password: string | null,
): Promise<boolean> {
  const login = password === null ? "" : `AUTH ${password}\r\n`;
  const { request, ready, notReady } = {
    // A Redis without a password refuses AUTH, and answers PING after that.
    redis: {
      request: Buffer.from(`${login}PING\r\n`),
      ready: /^\+PONG/m,
      notReady: /^-(?!ERR AUTH)/m,
    },
    nats: { request: Buffer.alloc(0), ready: /^INFO /, notReady: /^/ },
    postgres: { request: POSTGRES_STARTUP, ready: /^R/, notReady: /^/ },
  }[store];
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: PROBE_TIMEOUT_MS });
    const finish = (isReady: boolean) => {
      socket.destroy();
      resolve(isReady);
    };
    socket.once("connect", () => socket.write(request));
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (ready.test(text)) finish(true);
      else if (notReady.test(text)) finish(false);
    });
    socket.once("timeout", () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
  });
}
