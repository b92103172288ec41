/** PgBouncer as a child process, with the defaults of its package: it stands between archival and Postgres. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./find-program.ts";
import { type ServerProcess, startServer } from "./server-process.ts";

/** The Debian package. */
export const PGBOUNCER_PACKAGE = "pgbouncer";

interface PgBouncerOptions {
  /** Folder for its configuration. It is created if it is missing. */
  readonly dir: string;
  readonly port: number;
  /** Of Postgres, with user and password. */
  readonly postgresUrl: string;
  readonly poolMode: "session" | "transaction";
  /** Connections to Postgres for each user and database. */
  readonly poolSize: number;
}

/** @throws Error if PgBouncer is not installed or does not start */
export async function startPgBouncer(options: PgBouncerOptions): Promise<ServerProcess> {
  const { dir, port, postgresUrl, poolMode, poolSize } = options;
  const command = findProgram("pgbouncer");
  if (command === null) throw new Error("pgbouncer is not installed");
  const upstream = new URL(postgresUrl);
  const users = join(dir, "users.txt");
  const config = join(dir, "pgbouncer.ini");
  mkdirSync(dir, { recursive: true });
  writeFileSync(users, `"${upstream.username}" "${decodeURIComponent(upstream.password)}"\n`);
  const lines = [
    "[databases]",
    `* = host=${upstream.hostname} port=${upstream.port}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = scram-sha-256",
    `auth_file = ${users}`,
    `pool_mode = ${poolMode}`,
    `default_pool_size = ${poolSize}`,
    // It refuses to run as root. Its package brings the user postgres.
    process.getuid?.() === 0 ? "user = postgres" : "",
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  upstream.port = String(port);
  return startServer({
    name: "pgbouncer",
    command,
    args: [config],
    cwd: dir,
    logFile: join(dir, "pgbouncer.log"),
    url: upstream.href,
    port,
    stopSignal: "SIGINT",
  });
}
