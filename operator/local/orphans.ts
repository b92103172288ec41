/** Stops the processes that a killed run left behind. Only processes that this folder recorded are touched. */
import type { DataFolder } from "./data-folder.ts";
import { readProcessRecords, removeProcessRecord, stopRecordedProcess } from "./process-record.ts";
import { removeContainer } from "./stores.ts";
import { tierOfProcess } from "./tiers.ts";

/** Tiers before stores, as in a normal shutdown. */
const STOP_ORDER: readonly string[] = [
  "broadcast",
  "gateway",
  "archival",
  "postgres",
  "nats",
  "redis",
];

export async function stopOrphans(folder: DataFolder, say: (line: string) => void): Promise<void> {
  const records = readProcessRecords(folder.runDir);
  const orderOf = ({ name }: { name: string }) => STOP_ORDER.indexOf(tierOfProcess(name));
  records.sort((a, b) => orderOf(a) - orderOf(b));
  for (const record of records) {
    say(`  stopping ${record.name} (pid ${record.pid}), left behind by an earlier run`);
    await stopRecordedProcess(record);
    if (record.container !== null) removeContainer(record.container);
    removeProcessRecord(folder.runDir, record.name);
  }
}
