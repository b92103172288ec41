/** `make reset`: deletes everything that this folder holds, its data included. */
import { existsSync, rmSync } from "node:fs";
import { type DataFolder, STORES } from "./data-folder.ts";
import { readSources } from "./find-servers.ts";
import { readRecords } from "./process-record.ts";
import { readRun } from "./run-record.ts";
import { containerName, removeContainer, removeVolume } from "./stores.ts";
import { removePostgresData } from "../../servers/store-servers.ts";
import type { Terminal } from "./terminal.ts";

export async function reset(folder: DataFolder, terminal: Terminal): Promise<number> {
  if (!folder.exists) {
    terminal.say(`there is no ${folder.path}: nothing to delete`);
    return 0;
  }
  // Whatever the variable says, only a folder of ours is deleted.
  const ours = [folder.tokenSecretFile, folder.postgresPasswordFile, folder.runDir].every((path) =>
    existsSync(path),
  );
  if (!ours) {
    terminal.say(`${folder.path} was not made by make up: not touched`);
    return 1;
  }
  if (readRun(folder) !== null || readRecords(folder.runDir).length > 0) {
    terminal.say(`something still runs from ${folder.path}: make down first`);
    return 1;
  }
  terminal.say(
    `This deletes ${folder.path}: every auction, bid and result in it, and its secrets.`,
  );
  if (!(await terminal.agreesToDelete("Delete?"))) {
    terminal.say("Nothing was deleted. (YES=1 answers for you.)");
    return 1;
  }
  const sources = readSources(folder);
  for (const store of STORES) {
    if (sources[store] !== "docker") continue;
    removeContainer(containerName(store, folder));
    removeVolume(containerName(store, folder));
  }
  removePostgresData(folder.storeDir("postgres")); // as root, it may lie in /var/tmp
  rmSync(folder.path, { recursive: true, force: true });
  terminal.say("Deleted.");
  return 0;
}
