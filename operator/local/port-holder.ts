/** Who listens on a port, as far as this system tells. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, readlinkSync } from "node:fs";

/** "redis-server (pid 123)", or null where it cannot be found out. */
export function holderOf(port: number): string | null {
  try {
    return existsSync("/proc/net/tcp") ? holderInProc(port) : holderByLsof(port);
  } catch {
    return null;
  }
}

const LISTEN = "0A";

function holderInProc(port: number): string | null {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = ["/proc/net/tcp", "/proc/net/tcp6"].flatMap((file) => {
    if (!existsSync(file)) return [];
    const rows = readFileSync(file, "utf8").trim().split("\n").slice(1);
    return rows.flatMap((row) => {
      const [, local, , state, , , , , , inode] = row.trim().split(/\s+/);
      return local?.endsWith(`:${hex}`) && state === LISTEN ? [`socket:[${inode}]`] : [];
    });
  });
  const pid = readdirSync("/proc").find((name) => /^\d+$/.test(name) && holdsAny(name, inodes));
  if (pid === undefined) return null;
  return `${readFileSync(`/proc/${pid}/comm`, "utf8").trim()} (pid ${pid})`;
}

function holdsAny(pid: string, inodes: readonly string[]): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => {
      try {
        return inodes.includes(readlinkSync(`${folder}/${fd}`));
      } catch {
        return false; // closed while we looked
      }
    });
  } catch {
    return false; // somebody else's
  }
}

function holderByLsof(port: number): string | null {
  const args = ["-nP", `-iTCP:${port}`, "-sTCP:LISTEN", "-Fpc"];
  const text = execFileSync("lsof", args, { stdio: "pipe", timeout: 2_000 }).toString();
  const pid = /^p(\d+)$/m.exec(text)?.[1];
  const command = /^c(.+)$/m.exec(text)?.[1];
  return pid && command ? `${command} (pid ${pid})` : null;
}
