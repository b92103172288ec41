/** `make down`: ends the run of this folder, wherever it was started. */
import type { DataFolder } from "./data-folder.ts";
import { readRecords, stopRecorded } from "./process-record.ts";
import { readRun } from "./run-record.ts";
import { stopLeftovers } from "./leftovers.ts";
import type { Terminal } from "./terminal.ts";

export async function down(folder: DataFolder, terminal: Terminal): Promise<number> {
  const run = readRun(folder);
  if (run === null && readRecords(folder.runDir).length === 0) {
    terminal.say(`nothing runs from ${folder.path}`);
    return 0;
  }
  if (run !== null) {
    terminal.say(`stopping the run of ${folder.path} (pid ${run.pid}) …`);
    await stopRecorded({ ...run, name: "up", stopSignal: "SIGTERM", container: null }, RUN_STOP_MS);
  }
  await stopLeftovers(folder, (line) => terminal.say(line));
  terminal.say("stopped; make up goes on from there.");
  return 0;
}

/** Six parts, each of which may take 10 s. */
const RUN_STOP_MS = 70_000;
