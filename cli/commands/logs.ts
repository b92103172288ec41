import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { dirname } from "node:path";
import { STORES } from "../../operator/api/components.ts";
import { START_ORDER } from "../../operator/local/data-folder.ts";
import { tierOfProcess } from "../../operator/local/tiers.ts";
import type { Invocation } from "../command.ts";

/** Prints the last log lines of each process. JSON lines are printed as text. */
export async function logs({ env, folder, terminal, argument }: Invocation): Promise<number> {
  const all = ["up", ...STORES, ...START_ORDER];
  const only = argument ?? env.TIER;
  const replicas = replicasOf(folder);
  const names = all
    .flatMap((name) => [name, ...replicas.filter((replica) => tierOfProcess(replica) === name)])
    .filter((name) => only === undefined || [name, tierOfProcess(name)].includes(only))
    .filter((name) => existsSync(folder.logFile(name)));
  if (names.length === 0 && only !== undefined && !all.includes(only)) {
    throw new Error(`no process ${only}; the processes are ${all.join(", ")}`);
  }
  if (names.length === 0) terminal.say(`${folder.path} has no logs yet`);
  for (const name of names) {
    terminal.say(`== ${name}  (${folder.logFile(name)})`);
    for (const line of lastLines(folder.logFile(name), env.LINES)) terminal.say(readable(line));
  }
  return 0;
}

/** The other processes of the tiers (REPLICAS=…), found by their log files. */
function replicasOf(folder: Invocation["folder"]): string[] {
  const logs = dirname(folder.logFile("up"));
  if (!existsSync(logs)) return [];
  return readdirSync(logs)
    .flatMap((file) => /^(\w+-\d+)\.log$/.exec(file)?.[1] ?? [])
    .sort();
}

const TAIL_MAX_BYTES = 8 * 1024 * 1024;

function lastLines(path: string, count: number): string[] {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, TAIL_MAX_BYTES));
    readSync(file, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString("utf8").trimEnd().split("\n").slice(-count);
  } finally {
    closeSync(file);
  }
}

/** `{"level":"info","time":…,"msg":…}` as a line of text; other lines unchanged. */
function readable(line: string): string {
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    if (typeof entry["msg"] !== "string" && typeof entry["level"] !== "string") return line;
    const { level, time, msg, pid: _pid, hostname: _hostname, name: _name, ...rest } = entry;
    const fields = Object.entries(rest).map(([name, value]) => {
      const { message } = (value ?? {}) as { message?: unknown };
      return `${name}=${typeof message === "string" ? message : JSON.stringify(value)}`;
    });
    const words = [String(time).slice(11, 23), String(level).padEnd(5), msg, ...fields];
    return words.filter((word) => word !== undefined).join(" ");
  } catch {
    return line;
  }
}
