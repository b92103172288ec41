/** Real servers for one test file: started on ports of their own, gone when the file is done. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterFile } from "./after-file.ts";
import { freePort } from "../../servers/ports.ts";
import type { ServerProcess } from "../../servers/server-process.ts";
import * as servers from "../../servers/store-servers.ts";

const running = new Set<ServerProcess>();
process.on("exit", () => {
  for (const server of running) server.signal("SIGKILL");
});

/** A server that a test may kill and start again where it was, with the data it had. */
export interface TestServer {
  readonly url: string;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
  /** Again, on the same port and data. */
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
export const startNats = (): Promise<TestServer> => serve("nats", servers.startNats);
export const startPostgres = (): Promise<TestServer> =>
  serve("postgres", (at) => servers.startPostgres(at, "test"));
