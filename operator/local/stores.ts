/** Starts the three stores of this machine, each as a program or a container, and checks their readiness. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { LocalEnv } from "./config.ts";
import type { StoreName } from "../api/components.ts";
import { type DataFolder, writeSecret } from "./data-folder.ts";
import type { Source } from "./choose-sources.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";
import { startNats, startPostgres, startRedis } from "../../servers/store-servers.ts";

export function storePorts(env: LocalEnv): Record<StoreName, number> {
  return { redis: env.REDIS_PORT, nats: env.NATS_PORT, postgres: env.POSTGRES_PORT };
}

/** Starts a store, waits until it accepts commands, and writes its URL to the folder. */
export async function startStore(
  store: StoreName,
  source: Source,
  folder: DataFolder,
  env: LocalEnv,
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const options = { dir: folder.storeDir(store), port: storePorts(env)[store], onSpawn };
  const password = readSecretFile(folder.postgresPasswordFile);
  const start = {
    redis: () => startRedis(options),
    nats: () => startNats(options),
    postgres: () => startPostgres(options, password),
  };
  const server = await (source === "program"
    ? start[store]()
    : startContainer(store, folder, env, password, onSpawn));
  if (!(await untilStoreReady(store, server))) {
    await server.kill();
    throw new Error(`${store} started but does not accept commands; see ${folder.logFile(store)}`);
  }
  writeSecret(folder.urlFile(store), server.url);
  return server;
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
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const dir = folder.storeDir(store);
  mkdirSync(dir, { recursive: true });
  const name = containerName(store, folder);
  removeContainer(name); // left by a crashed run
  const { image, containerPort, dataDir, options, args } = CONTAINERS[store];
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
      PGDATA: "/var/lib/postgresql/data/pgdata",
    },
  });
}

interface Container {
  /** Variable that names the image. */
  readonly image: "REDIS_IMAGE" | "NATS_IMAGE" | "POSTGRES_IMAGE";
  readonly containerPort: number;
  readonly dataDir: string;
  /** Further options of `docker run`. */
  readonly options: readonly string[];
  readonly args: readonly string[];
}

const REDIS_ARGS =
  "redis-server --appendonly yes --appendfsync always --maxmemory-policy noeviction --protected-mode no";

const CONTAINERS: Readonly<Record<StoreName, Container>> = {
  redis: {
    image: "REDIS_IMAGE",
    containerPort: 6379,
    dataDir: "/data",
    options: [],
    args: REDIS_ARGS.split(" ").concat("--save", ""),
  },
  nats: {
    image: "NATS_IMAGE",
    containerPort: 4222,
    dataDir: "/data",
    options: [],
    args: ["--jetstream", "--store_dir", "/data"],
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

function storeUrl(store: StoreName, port: number, password: string): string {
  const address = `127.0.0.1:${port}`;
  return {
    redis: `redis://${address}`,
    nats: `nats://${address}`,
    postgres: `postgres://gavel:${password}@${address}/postgres`,
  }[store];
}

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

async function untilStoreReady(store: StoreName, server: ServerProcess): Promise<boolean> {
  let exited = false;
  void server.ended.then(() => (exited = true));
  const deadline = Date.now() + STORE_READY_TIMEOUT_MS;
  while (!exited && Date.now() < deadline) {
    if (await isStoreReady(store, server.port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** The StartupMessage of protocol 3.0. Postgres answers it with an error while it recovers. */
const POSTGRES_STARTUP = Buffer.from("\0\0\0\x14\0\x03\0\0user\0gavel\0\0", "latin1");

/** Whether a store of this kind listens on the port and accepts commands. A Redis that loads its data does not. */
export function isStoreReady(store: StoreName, port: number): Promise<boolean> {
  const { request, reply } = {
    redis: { request: Buffer.from("PING\r\n"), reply: /^\+PONG/ },
    nats: { request: Buffer.alloc(0), reply: /^INFO / },
    postgres: { request: POSTGRES_STARTUP, reply: /^R/ },
  }[store];
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: PROBE_TIMEOUT_MS });
    const finish = (isReady: boolean) => {
      socket.destroy();
      resolve(isReady);
    };
    socket.once("connect", () => socket.write(request));
    socket.once("data", (data) => finish(reply.test(data.toString("latin1"))));
    socket.once("timeout", () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
  });
}
