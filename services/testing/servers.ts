/** Real servers for one test file, on free ports. They stop after the file, and their data is deleted. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { afterFile } from "./after-file.ts";
import { findProgram } from "../../servers/find-program.ts";
import { freePort } from "../../servers/ports.ts";
import { startPgBouncer as pgbouncer } from "../../servers/pgbouncer.ts";
import type { ServerProcess } from "../../servers/server-process.ts";
import * as servers from "../../servers/store-servers.ts";

const running = new Set<ServerProcess>();
process.on("exit", () => {
  for (const server of running) server.signal("SIGKILL");
});

/** A server that a test may kill and start again, with its port and its data. */
export interface TestServer {
  readonly url: string;
  /** Sends SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Starts it again, on the same port and data. */
  restart(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  readonly dir: string;
  readonly pid: number;
}

async function serve(
  name: string,
  start: (at: servers.StoreOptions) => Promise<ServerProcess>,
): Promise<TestServer> {
  const root = mkdtempSync(join(tmpdir(), `gavel-${name}-`));
  const at = { dir: join(root, "store"), port: await freePort() };
  let server = await start(at);
  running.add(server);
  afterFile(async () => {
    running.delete(server);
    await server.kill();
    servers.removePostgresData(at.dir);
    rmSync(root, { recursive: true, force: true });
  });
  return {
    url: server.url,
    dir: at.dir,
    get pid() {
      return server.pid;
    },
    signal: (signal) => server.signal(signal),
    kill: () => server.kill(),
    async restart() {
      running.delete(server);
      await server.kill();
      server = await start(at);
      running.add(server);
    },
  };
}

export const startRedis = (): Promise<TestServer> => serve("redis", servers.startRedis);
export const startNats = (settings: readonly string[] = []): Promise<TestServer> =>
  serve("nats", (at) => servers.startNats(at, null, settings));
export const startPostgres = (): Promise<TestServer> =>
  serve("postgres", async (at) => {
    const server = await servers.startPostgres(at, "test", copyTemplate);
    await Promise.race([untilStarted(server.url), server.ended]);
    return server;
  });

const CANNOT_CONNECT_NOW = "57P03";
const START_POLL_MS = 20;

/** Postgres listens before it takes sessions: while it recovers, it refuses them. */
async function untilStarted(connectionString: string): Promise<void> {
  for (;;) {
    const client = new Client({ connectionString });
    try {
      await client.connect();
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== CANNOT_CONNECT_NOW) return;
    } finally {
      await client.end();
    }
    await new Promise((resolve) => setTimeout(resolve, START_POLL_MS));
  }
}

/** Three servers of NATS that are one cluster. */
export async function startNatsCluster(): Promise<TestServer[]> {
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
  return Promise.all(
    ports.map((port, index) =>
      startNats([
        `server_name: nats-${index}`,
        `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }`,
      ]),
    ),
  );
}

/** PgBouncer in front of a Postgres. @returns the URL to connect to in its place */
export async function startPgBouncer(
  postgresUrl: string,
  poolMode: "session" | "transaction",
  poolSize: number,
): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-pgbouncer-"));
  chmodSync(dir, 0o755); // Its user reads the configuration again.
  const port = await freePort();
  const server = await pgbouncer({ dir, port, postgresUrl, poolMode, poolSize });
  running.add(server);
  afterFile(async () => {
    running.delete(server);
    await server.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return server.url;
}

/** Fills a data directory from one that initdb made once on this machine: a copy takes a tenth of the time. */
async function copyTemplate(data: string, owner: servers.Owner, password: string): Promise<void> {
  // The path of initdb contains the version of Postgres, and the owner must be able to read the template.
  const key = [findProgram("initdb"), owner.uid ?? process.getuid?.(), password].join(" ");
  const hash = createHash("sha256").update(key).digest("hex").slice(0, 12);
  const template = `/var/tmp/gavel-test-postgres-${hash}`;
  if (!existsSync(template)) {
    const fresh = mkdtempSync(`${template}-`);
    if (owner.uid !== undefined) chownSync(fresh, owner.uid, owner.gid);
    await servers.initialise(fresh, owner, password);
    try {
      renameSync(fresh, template);
    } catch {
      rmSync(fresh, { recursive: true }); // another test file was faster
    }
  }
  await promisify(execFile)("cp", ["-a", `${template}/.`, data]);
}
