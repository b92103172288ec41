/** `make down`: stops the run of this folder, whichever terminal started it. */
import type { DataFolder } from "./data-folder.ts";
import { stopOrphans } from "./orphans.ts";
import { readProcessRecords, stopRecordedProcess } from "./process-record.ts";
import { readRun } from "./run-record.ts";
import type { Terminal } from "./terminal.ts";

/** Three stores and at most eight processes of each tier, each with up to 10 s to stop, and a margin. */
const RUN_STOP_TIMEOUT_MS = 280_000;

export async function down(folder: DataFolder, terminal: Terminal): Promise<number> {
  const run = readRun(folder);
  if (run === null && readProcessRecords(folder.runDir).length === 0) {
    terminal.say(`nothing runs from ${folder.path}`);
    return 0;
  }
  if (run !== null) {
    terminal.say(`stopping the run of ${folder.path} (pid ${run.pid}) …`);
    await stopRecordedProcess(
      { ...run, name: "up", stopSignal: "SIGTERM", container: null },
      RUN_STOP_TIMEOUT_MS,
    );
  }
  await stopOrphans(folder, (line) => terminal.say(line));
  terminal.say("stopped; the next make up continues the auction.");
  return 0;
}
