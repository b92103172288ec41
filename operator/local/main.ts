/** Entry point of `make up`: node operator/local/main.ts up <file>. */
import { tolerateClosedPipe } from "../../services/runtime/closed-pipe.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { readAuctionFile } from "./auction-file.ts";
import { LocalEnv } from "./config.ts";
import { DataFolder } from "./data-folder.ts";
import { detach } from "./detach.ts";
import { installMissing } from "./choose-sources.ts";
import { createTerminal } from "./terminal.ts";
import { up } from "./up.ts";

tolerateClosedPipe();
process.umask(0o077); // Data, logs and records of every process that is started here are the owner's alone.
const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => interrupted.abort());
}

const [command, file, flag] = process.argv.slice(2);
if (command !== "up" || file === undefined) {
  process.stderr.write("usage: node operator/local/main.ts up <auction.yaml>\n");
  process.exit(2);
}
try {
  const env = readEnv(LocalEnv);
  const folder = new DataFolder(env.GAVEL_DIR);
  const terminal = createTerminal(env.YES);
  const detachedCommand = [import.meta.filename, "up", file, "--detached"];
  if (env.DETACH && flag !== "--detached") {
    if (readAuctionFile(file).ok) await installMissing(folder, terminal); // while there is a terminal to ask at
    process.exitCode = await detach(detachedCommand, folder, terminal, interrupted.signal);
  } else {
    process.exitCode = await up(file, folder, env, terminal, interrupted.signal);
  }
} catch (error) {
  process.stderr.write(`make up: ${messageOf(error)}\n`);
  process.exitCode = 1;
}
process.exit();

/** The message of an operational error; the stack of a bug. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isBug = error instanceof TypeError || error instanceof ReferenceError;
  return isBug ? (error.stack ?? error.message) : error.message;
}
