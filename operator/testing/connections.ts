import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/**
 * TCP connections of this process to a port of this machine that are established now, counted by the kernel
 * instead of the client. Linux only.
 */
export function openConnectionsTo(url: string): number {
  const port = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0");
  const remote = `0100007F:${port}`;
  const inodes = new Set(
    readFileSync("/proc/self/net/tcp", "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , to, state]) => to === remote && state === "01")
      .map((fields) => fields[9]),
  );
  const own = readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return inodes.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]);
    } catch {
      return false; // The one that readdir itself used.
    }
  });
  return own.length;
}
