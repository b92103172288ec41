/** `make reset`: deletes the folder of `make up` with all its data. */
import { existsSync, rmSync } from "node:fs";
import { STORES } from "../api/components.ts";
import type { DataFolder } from "./data-folder.ts";
import { readSources } from "./choose-sources.ts";
import { readProcessRecords } from "./process-record.ts";
import { readRun } from "./run-record.ts";
import { containerName, removeContainer, removeVolume } from "./stores.ts";
import { removePostgresData } from "../../servers/store-servers.ts";
import type { Terminal } from "./terminal.ts";

export async function reset(folder: DataFolder, terminal: Terminal): Promise<number> {
  if (!folder.exists) {
    terminal.say(`nothing to delete: there is no ${folder.path}`);
    return 0;
  }
  // GAVEL_DIR may name any folder: delete only one that `make up` made.
  const isOurs = [folder.tokenSecretFile, folder.passwordFile("postgres"), folder.runDir].every(
    (path) => existsSync(path),
  );
  if (!isOurs) {
    terminal.say(`not deleted: ${folder.path} was not made by make up (see GAVEL_DIR)`);
    return 1;
  }
  if (readRun(folder) !== null || readProcessRecords(folder.runDir).length > 0) {
    terminal.say(`processes still run from ${folder.path}: stop them with make down first`);
    return 1;
  }
  terminal.say(`This deletes ${folder.path}: all auctions, bids, results and secrets in it.`);
  if (!(await terminal.confirmDeletion("Delete?"))) {
    terminal.say("Nothing was deleted. To delete without a question, set YES=1.");
    return 1;
  }
  const sources = readSources(folder);
  for (const store of STORES) {
    if (sources[store] !== "docker") continue;
    removeContainer(containerName(store, folder));
    removeVolume(containerName(store, folder));
  }
  removePostgresData(folder.storeDir("postgres")); // the data directory of a run as root may be in /var/tmp
  rmSync(folder.path, { recursive: true, force: true });
  terminal.say("Deleted.");
  return 0;
}
