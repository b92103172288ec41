/** Which run of `make up` this folder has now, so that the other commands find it. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type DataFolder,
  type RecordedAuction,
  type StoreName,
  writeWhole,
} from "./data-folder.ts";
import { isAlive, startOf } from "./process-record.ts";
import type { LocalEnv } from "./config.ts";
import { storePorts } from "./stores.ts";
import { type Endpoints, endpointsOf } from "./tiers.ts";

export interface RunRecord {
  readonly pid: number;
  readonly startedAt: string;
  readonly ready: boolean;
  readonly endpoints: Endpoints;
  readonly storePorts: Readonly<Record<StoreName, number>>;
  readonly auction: RecordedAuction | null;
}

const pathOf = (folder: DataFolder) => join(folder.runDir, "up.json");

/** The run that is under way here; null where none is, whatever a crash left. */
export function readRun(folder: DataFolder): RunRecord | null {
  try {
    const run = JSON.parse(readFileSync(pathOf(folder), "utf8")) as RunRecord;
    return isAlive(run) ? run : null;
  } catch {
    return null;
  }
}

/** Takes this folder for our run. False when another one was faster. */
export function beginRun(folder: DataFolder, env: LocalEnv): boolean {
  if (readRun(folder) !== null) return false;
  rmSync(pathOf(folder), { force: true });
  try {
    writeFileSync(pathOf(folder), text(env, null, false), { flag: "wx" });
    return true;
  } catch {
    return false;
  }
}

export function runIsReady(folder: DataFolder, env: LocalEnv, auction: RecordedAuction): void {
  writeWhole(pathOf(folder), text(env, auction, true), 0o644);
}

export function endRun(folder: DataFolder): void {
  rmSync(pathOf(folder), { force: true });
}

function text(env: LocalEnv, auction: RecordedAuction | null, ready: boolean): string {
  const run: RunRecord = {
    pid: process.pid,
    startedAt: startOf(process.pid) ?? "",
    ready,
    endpoints: endpointsOf(env),
    storePorts: storePorts(env),
    auction,
  };
  return `${JSON.stringify(run, null, 2)}\n`;
}
