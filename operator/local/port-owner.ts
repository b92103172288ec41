/** Finds the process that listens on a port. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, readlinkSync } from "node:fs";

/** "redis-server (pid 123)", or null if the system does not tell. */
export function processListeningOn(port: number): string | null {
  try {
    return existsSync("/proc/net/tcp") ? listenerInProc(port) : listenerByLsof(port);
  } catch {
    return null;
  }
}

const LISTEN = "0A";

function listenerInProc(port: number): string | null {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => {
    if (!existsSync(file)) return [];
    const rows = readFileSync(file, "utf8").trim().split("\n").slice(1);
    return rows.flatMap((row) => {
      const [, local, , state, , , , , , inode] = row.trim().split(/\s+/);
      return local?.endsWith(`:${hex}`) && state === LISTEN ? [`socket:[${inode}]`] : [];
    });
  });
  const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && hasAnySocket(name, inodes));
  if (pid === undefined) return null;
  return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
}

function hasAnySocket(pid: string, inodes: readonly string[]): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return inodes.includes(readlinkSync(`${folder}/${fd}`));
      } catch {
        return false; // closed in the meantime
      }
    });
  } catch {
    return false; // a process of another user
  }
}

function listenerByLsof(port: number): string | null {
  const args = ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fpc"];
  const text = execFileSync("lsof", args, { stdio: "pipe", timeout: 2_000 }).toString();
  const pid = /^p(\d+)$/m.exec(text)?.[1];
  const command = /^c(.+)$/m.exec(text)?.[1];
  return pid && command ? `${command} (pid ${pid})` : null;
}
