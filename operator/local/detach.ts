/** `make up DETACH=1`: the run goes on in the background, once it is ready. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { DataFolder } from "./data-folder.ts";
import { readRun } from "./run-record.ts";
import type { Terminal } from "./terminal.ts";

/** Starts `command` apart from this terminal, and shows what it says until it is ready or ended. */
export async function detach(
  command: readonly string[],
  folder: DataFolder,
  terminal: Terminal,
  interrupted: AbortSignal,
): Promise<number> {
  const logFile = folder.logFile("up");
  mkdirSync(dirname(logFile), { recursive: true });
  // Of a run that goes on, the log is not ours to empty; what it said stays where make logs finds it.
  if (readRun(folder) === null) rmSync(logFile, { force: true });
  const log = openSync(logFile, "a", 0o600); // it shows a token
  let shown = readFileSync(logFile, "utf8").length;
  const child = spawn(process.execPath, command, {
    detached: true,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  interrupted.addEventListener("abort", () => child.kill("SIGTERM"));
  let code: number | null = null;
  child.once("error", () => (code = 1));
  child.once("exit", (exitCode) => (code = exitCode ?? 1));

  const show = () => {
    const text = readFileSync(logFile, "utf8");
    const whole = text.lastIndexOf("\n") + 1;
    if (whole > shown) terminal.say(text.slice(shown, whole - 1));
    shown = Math.max(shown, whole);
    return text;
  };
  for (;;) {
    const ended = code !== null;
    const run = readRun(folder);
    const ready = run?.ready === true && run.pid === child.pid;
    const text = show();
    if (ended) return code!;
    // The summary is said after the run is marked as ready, and ends on this.
    if (ready && text.trimEnd().endsWith(LAST_WORDS)) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  child.unref();
  return 0;
}

const LAST_WORDS = "make up goes on from there.";
