import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { STORES, TIERS } from "../../operator/local/data-folder.ts";
import type { Context } from "../commands.ts";

type Part = Parameters<Context["folder"]["logFile"]>[0];

/** Prints the last lines of each process, ours made readable. */
export async function logs({ env, folder, terminal, argument }: Context): Promise<number> {
  const all: Part[] = ["up", ...STORES, ...TIERS];
  const only = argument ?? env.TIER;
  if (only !== undefined && !all.includes(only as Part)) {
    throw new Error(`no process ${only}; there are ${all.join(", ")}`);
  }
  const parts = (only === undefined ? all : [only as Part]).filter((part) =>
    existsSync(folder.logFile(part)),
  );
  if (parts.length === 0) terminal.say(`no logs in ${folder.path} yet`);
  for (const part of parts) {
    terminal.say(`== ${part}  (${folder.logFile(part)})`);
    for (const line of lastLines(folder.logFile(part), env.LINES)) terminal.say(readable(line));
  }
  return 0;
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

/** `{"level":"info","time":…,"msg":…}` as a line for a person; other lines as they are. */
export function readable(line: string): string {
  try {
    const entry = JSON.parse(line) as Record<string, unknown>;
    if (typeof entry["msg"] !== "string" && typeof entry["level"] !== "string") return line;
    const { level, time, msg, pid: _pid, hostname: _hostname, name: _name, ...rest } = entry;
    const more = Object.entries(rest).map(([name, value]) => {
      const { message } = (value ?? {}) as { message?: unknown };
      return `${name}=${typeof message === "string" ? message : JSON.stringify(value)}`;
    });
    const words = [String(time).slice(11, 23), String(level).padEnd(5), msg, ...more];
    return words.filter((word) => word !== undefined).join(" ");
  } catch {
    return line;
  }
}
