/** The three stores of this machine, each as a program or a container, and whether they answer. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { connect } from "node:net";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { LocalEnv } from "./config.ts";
import { type DataFolder, type StoreName, writeSecret } from "./data-folder.ts";
import type { Source } from "./find-servers.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";
import { startNats, startPostgres, startRedis } from "../../servers/store-servers.ts";

export function storePorts(env: LocalEnv): Record<StoreName, number> {
  return { redis: env.REDIS_PORT, nats: env.NATS_PORT, postgres: env.POSTGRES_PORT };
}

/** Starts a store, waits until it answers in its own words, and writes down how to reach it. */
export async function startStore(
  store: StoreName,
  source: Source,
  folder: DataFolder,
  env: LocalEnv,
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const at = { dir: folder.storeDir(store), port: storePorts(env)[store], onSpawn };
  const password = readSecretFile(folder.postgresPasswordFile);
  const start = {
    redis: () => startRedis(at),
    nats: () => startNats(at),
    postgres: () => startPostgres(at, password),
  };
  const server = await (source === "program"
    ? start[store]()
    : startContainer(store, folder, env, password, onSpawn));
  if (!(await comesToAnswer(store, server))) {
    await server.kill();
    throw new Error(`${store} did not answer; see ${folder.logFile(store)}`);
  }
  writeSecret(folder.urlFile(store), server.url);
  return server;
}

/** One a folder and store: two clones on one machine do not meet. */
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
  removeContainer(name); // left by a crash
  pullImage({ redis: env.REDIS_IMAGE, nats: env.NATS_IMAGE, postgres: env.POSTGRES_IMAGE }[store]);
  const port = storePorts(env)[store];
  const publish = (inside: number) => ["-p", `127.0.0.1:${port}:${inside}`];
  const volume = (path: string) => ["-v", `${name}:${path}`];
  const settings = {
    redis: {
      args: [
        ...publish(6379),
        ...volume("/data"),
        env.REDIS_IMAGE,
        "redis-server",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--maxmemory-policy",
        "noeviction",
        "--save",
        "",
        "--protected-mode",
        "no",
      ],
      url: `redis://127.0.0.1:${port}`,
    },
    nats: {
      args: [
        ...publish(4222),
        ...volume("/data"),
        env.NATS_IMAGE,
        "--jetstream",
        "--store_dir",
        "/data",
      ],
      url: `nats://127.0.0.1:${port}`,
    },
    postgres: {
      // The values of -e come from the environment: arguments can be read by everybody.
      args: [
        ...publish(5432),
        ...volume("/var/lib/postgresql/data"),
        "-e",
        "POSTGRES_USER",
        "-e",
        "POSTGRES_DB",
        "-e",
        "POSTGRES_PASSWORD",
        "-e",
        "PGDATA",
        env.POSTGRES_IMAGE,
      ],
      url: `postgres://gavel:${password}@127.0.0.1:${port}/postgres`,
    },
  };
  const { args, url } = settings[store];
  return startServer({
    name: store,
    command: "docker",
    args: ["run", "--rm", "--name", name, ...args],
    cwd: dir,
    logFile: folder.logFile(store),
    url,
    port,
    stopSignal: store === "postgres" ? "SIGINT" : "SIGTERM", // `docker run` hands signals on
    onSpawn,
    env: {
      POSTGRES_USER: "gavel",
      POSTGRES_DB: "postgres",
      POSTGRES_PASSWORD: password,
      PGDATA: "/var/lib/postgresql/data/pgdata",
    },
  });
}

const DOCKER_TIMEOUT_MS = 30_000;
const PULL_TIMEOUT_MS = 600_000;

/** Beforehand and in sight, so that a slow network does not look like a server that does not start. */
function pullImage(image: string): void {
  const known = spawnSync("docker", ["image", "inspect", image], { stdio: "ignore" });
  if (known.status === 0) return;
  const pull = spawnSync("docker", ["pull", image], { stdio: "inherit", timeout: PULL_TIMEOUT_MS });
  if (pull.status !== 0) throw new Error(`docker pull ${image} failed`);
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

/** A first start of Postgres in Docker initialises its data, and may pull its image before. */
const ANSWER_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 1_000;

async function comesToAnswer(store: StoreName, server: ServerProcess): Promise<boolean> {
  let over = false;
  void server.ended.then(() => (over = true));
  const deadline = Date.now() + ANSWER_TIMEOUT_MS;
  while (!over && Date.now() < deadline) {
    if (await answersAs(store, server.port)) return true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return false;
}

/** Postgres's StartupMessage, protocol 3.0: while it recovers it answers with an error to that. */
const STARTUP = Buffer.from("\0\0\0\x14\0\x03\0\0user\0gavel\0\0", "latin1");

/** Whether what listens there is that kind of server, and takes commands: a loading Redis does not. */
export function answersAs(store: StoreName, port: number): Promise<boolean> {
  const { say, expect } = {
    redis: { say: Buffer.from("PING\r\n"), expect: /^\+PONG/ },
    nats: { say: Buffer.alloc(0), expect: /^INFO / },
    postgres: { say: STARTUP, expect: /^R/ },
  }[store];
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: PROBE_TIMEOUT_MS });
    const settle = (answers: boolean) => {
      socket.destroy();
      resolve(answers);
    };
    socket.once("connect", () => socket.write(say));
    socket.once("data", (data) => settle(expect.test(data.toString("latin1"))));
    socket.once("timeout", () => settle(false));
    socket.once("error", () => settle(false));
    socket.once("close", () => settle(false));
  });
}
