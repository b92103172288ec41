/**
 * Records on disk of the processes that a run started, so that the next run finds them after a crash. A
 * record holds the pid and the start instant, because the system reuses pids.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeAtomically } from "./data-folder.ts";

interface ProcessRecord {
  readonly name: string;
  readonly pid: number;
  /** Boot id and start time of the process: together they identify it. */
  readonly startedAt: string;
  readonly stopSignal: NodeJS.Signals;
  /** Name of the container, if Docker runs the process. */
  readonly container: string | null;
}

/** When a process started, in the notation of this system; null if there is no such process. */
export function startInstantOf(pid: number): string | null {
  try {
    // Field 22. Fields are counted after the name, which may contain spaces and brackets.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z") return null; // a zombie: it has exited and its parent has not waited for it
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
  return startInstantOf(pid) === startedAt;
}

export function writeProcessRecord(
  runDir: string,
  record: Omit<ProcessRecord, "startedAt">,
): ProcessRecord | null {
  const startedAt = startInstantOf(record.pid);
  if (startedAt === null) return null;
  const completeRecord = { ...record, startedAt };
  writeAtomically(join(runDir, `${record.name}.pid.json`), `${JSON.stringify(completeRecord)}\n`);
  return completeRecord;
}

export function removeProcessRecord(runDir: string, name: string): void {
  rmSync(join(runDir, `${name}.pid.json`), { force: true });
}

/** Records of processes that still run. Records of the others are deleted. */
export function readProcessRecords(runDir: string): ProcessRecord[] {
  if (!existsSync(runDir)) return [];
  const files = readdirSync(runDir).filter((file) => file.endsWith(".pid.json"));
  return files.flatMap((file) => {
    const record = readRecord(join(runDir, file));
    if (record && isAlive(record)) return [record];
    // A container outlives the `docker run` process.
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

/** Stops a process that is not our child: sends its stop signal, and SIGKILL after the timeout. */
export async function stopRecordedProcess(
  record: ProcessRecord,
  timeoutMs = STOP_TIMEOUT_MS,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  sendSignal(record, record.stopSignal);
  while (isAlive(record)) {
    if (Date.now() > deadline) sendSignal(record, "SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function sendSignal(record: ProcessRecord, signal: NodeJS.Signals): void {
  if (!isAlive(record)) return;
  try {
    process.kill(record.pid, signal);
  } catch {
    // It has exited in the meantime.
  }
}
