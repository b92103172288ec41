/** What a run that was killed left behind: its own children, and nobody else's processes. */
import type { DataFolder } from "./data-folder.ts";
import { dropRecord, readRecords, stopRecorded } from "./process-record.ts";
import { removeContainer } from "./stores.ts";

/** Tiers before stores, as in good order. */
const ORDER: readonly string[] = ["broadcast", "gateway", "archival", "postgres", "nats", "redis"];

export async function stopLeftovers(
  folder: DataFolder,
  say: (line: string) => void,
): Promise<void> {
  const records = readRecords(folder.runDir);
  records.sort((a, b) => ORDER.indexOf(a.name) - ORDER.indexOf(b.name));
  for (const record of records) {
    say(`  stopping ${record.name} (pid ${record.pid}), left behind by an earlier run`);
    await stopRecorded(record);
    if (record.container !== null) removeContainer(record.container);
    dropRecord(folder.runDir, record.name);
  }
}
