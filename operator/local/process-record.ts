/**
 * Notes of the processes that we started, so that after a crash of ours the next run knows them for
 * ours: by pid and by the instant that the process started, since pids are given out again.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeWhole } from "./data-folder.ts";

export interface ProcessRecord {
  readonly name: string;
  readonly pid: number;
  /** Of this machine's run and that process: no other process ever has both. */
  readonly startedAt: string;
  readonly stopSignal: NodeJS.Signals;
  /** In place of a process, where Docker runs it. */
  readonly container: string | null;
}

/** When a process started, as this system counts it; null where there is no such process. */
export function startOf(pid: number): string | null {
  try {
    // Field 22, counted behind the name, which may hold anything, spaces and brackets included.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z") return null; // ended; only its parent has not asked yet
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    return `${boot} ${fields[19]}`;
  } catch {
    if (existsSync("/proc/self/stat")) return null;
  }
  try {
    const text = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { stdio: "pipe" });
    return text.toString().trim() || null;
  } catch {
    return null;
  }
}

export function isAlive({ pid, startedAt }: Pick<ProcessRecord, "pid" | "startedAt">): boolean {
  return startOf(pid) === startedAt;
}

export function keepRecord(
  runDir: string,
  record: Omit<ProcessRecord, "startedAt">,
): ProcessRecord | null {
  const startedAt = startOf(record.pid);
  if (startedAt === null) return null;
  const whole = { ...record, startedAt };
  writeWhole(join(runDir, `${record.name}.pid.json`), `${JSON.stringify(whole)}\n`, 0o644);
  return whole;
}

export function dropRecord(runDir: string, name: string): void {
  rmSync(join(runDir, `${name}.pid.json`), { force: true });
}

/** What is on record and still runs. Notes of processes that are gone are removed. */
export function readRecords(runDir: string): ProcessRecord[] {
  if (!existsSync(runDir)) return [];
  const files = readdirSync(runDir).filter((file) => file.endsWith(".pid.json"));
  return files.flatMap((file) => {
    const record = readRecord(join(runDir, file));
    if (record && isAlive(record)) return [record];
    // A container outlives the process that watched it.
    if (record?.container) return [record];
    rmSync(join(runDir, file), { force: true });
    return [];
  });
}

function readRecord(path: string): ProcessRecord | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessRecord;
  } catch {
    return null;
  }
}

const STOP_TIMEOUT_MS = 15_000;

/** Stops a process that is not our child: asks, waits, and kills it when it takes too long. */
export async function stopRecorded(
  record: ProcessRecord,
  timeoutMs = STOP_TIMEOUT_MS,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  signal(record, record.stopSignal);
  while (isAlive(record)) {
    if (Date.now() > deadline) signal(record, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function signal(record: ProcessRecord, name: NodeJS.Signals): void {
  if (!isAlive(record)) return;
  try {
    process.kill(record.pid, name);
  } catch {
    // It ended in between.
  }
}
