/** Records the active run of `make up` in the folder, so that the other commands find it. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { StoreName, TierName } from "../api/components.ts";
import {
  type DataFolder,
  type RecordedAuction,
  START_ORDER,
  writeAtomically,
} from "./data-folder.ts";
import { isAlive, startInstantOf } from "./process-record.ts";
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

/** The active run; null if there is none. The record of a crashed run does not count. */
export function readRun(folder: DataFolder): RunRecord | null {
  try {
    const run = JSON.parse(readFileSync(pathOf(folder), "utf8")) as RunRecord;
    return isAlive(run) ? withProcesses(run) : null;
  } catch {
    return null;
  }
}

/** A run of an earlier version had one process of each tier, and recorded only the address of each tier. */
function withProcesses(run: RunRecord): RunRecord {
  const { internal, processes } = run.endpoints as Omit<Endpoints, "processes"> &
    Partial<Endpoints>;
  const one = (tier: TierName) => ({
    name: tier,
    tier,
    internalPort: Number(new URL(internal[tier]).port),
    internal: internal[tier],
  });
  return {
    ...run,
    endpoints: { ...run.endpoints, processes: processes ?? START_ORDER.map(one) },
  };
}

/** Claims the folder for this run. @returns false if another run has claimed it */
export function beginRun(folder: DataFolder, env: LocalEnv): boolean {
  if (readRun(folder) !== null) return false;
  rmSync(pathOf(folder), { force: true });
  try {
    writeFileSync(pathOf(folder), recordText(env, null, false), { flag: "wx", mode: 0o600 });
    return true;
  } catch {
    return false;
  }
}

export function markRunReady(folder: DataFolder, env: LocalEnv, auction: RecordedAuction): void {
  writeAtomically(pathOf(folder), recordText(env, auction, true));
}

export function endRun(folder: DataFolder): void {
  rmSync(pathOf(folder), { force: true });
}

function recordText(env: LocalEnv, auction: RecordedAuction | null, ready: boolean): string {
  const run: RunRecord = {
    pid: process.pid,
    startedAt: startInstantOf(process.pid) ?? "",
    ready,
    endpoints: endpointsOf(env),
    storePorts: storePorts(env),
    auction,
  };
  return `${JSON.stringify(run, null, 2)}\n`;
}
