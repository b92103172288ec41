/** `make up DETACH=1`: starts the run in the background and returns when it is ready. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { aborted } from "../../services/runtime/lifecycle.ts";
import type { DataFolder } from "./data-folder.ts";
import { readRun } from "./run-record.ts";
import { SUMMARY_END } from "./summary.ts";
import type { Terminal } from "./terminal.ts";

/** Starts `command` detached from this terminal, and shows its output until it is ready or has exited. */
export async function detach(
  command: readonly string[],
  folder: DataFolder,
  terminal: Terminal,
  interrupted: AbortSignal,
): Promise<number> {
  const logFile = folder.logFile("up");
  mkdirSync(dirname(logFile), { recursive: true });
  // Only a new run may empty the log: if another run is active, this is its log.
  if (readRun(folder) === null) rmSync(logFile, { force: true });
  const log = openSync(logFile, "a", 0o600); // it contains a token
  let shownLength = readFileSync(logFile, "utf8").length;
  const child = spawn(process.execPath, command, {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  void aborted(interrupted).then(() => child.kill("SIGTERM"));
  let code: number | null = null;
  child.once("error", () => (code = 1));
  child.once("exit", (exitCode) => (code = exitCode ?? 1));

  const showNewLines = () => {
    const text = readFileSync(logFile, "utf8");
    const end = text.lastIndexOf("\n") + 1;
    if (end > shownLength) terminal.say(text.slice(shownLength, end - 1));
    shownLength = Math.max(shownLength, end);
    return text;
  };
  for (;;) {
    const exited = code !== null;
    const run = readRun(folder);
    const ready = run?.ready === true && run.pid === child.pid;
    const text = showNewLines();
    if (exited) return code!;
    // The summary is printed after the run is marked as ready.
    if (ready && text.trimEnd().endsWith(SUMMARY_END)) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.unref();
  return 0;
}
