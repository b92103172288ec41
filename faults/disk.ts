/** A disk for one store that can be filled and freed at once. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";

const SIZE_BYTES = 6 * 1024 * 1024 * 1024;

export interface Disk {
  /** Why this user may not mount; null: mounted. Without a mount the store uses a plain folder. */
  readonly why: string | null;
  /** Leaves no free space. */
  fill(): void;
  free(): void;
  unmount(): void;
}

/** Mounts a tmpfs at `dir`. It uses memory only for its content. */
export function mountDisk(dir: string): Disk {
  mkdirSync(dir, { recursive: true });
  const run = (...args: string[]) => execFileSync(args[0]!, args.slice(1), { stdio: "pipe" });
  try {
    run("mount", "-t", "tmpfs", "-o", `size=${SIZE_BYTES},mode=0755`, "gavel-faults", dir);
  } catch (error) {
    const why = `cannot mount a tmpfs here: ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`;
    return { why, fill() {}, free() {}, unmount() {} };
  }
  const resize = (bytes: number) => run("mount", "-o", `remount,size=${bytes}`, dir);
  return {
    why: null,
    fill() {
      // The store writes meanwhile, and a tmpfs cannot be smaller than its content.
      for (let attempt = 1; ; attempt++) {
        const { bsize, blocks, bfree } = statfsSync(dir);
        try {
          return void resize((blocks - bfree) * bsize + (attempt - 1) * 256 * 1024);
        } catch (error) {
          if (attempt === 10) throw error;
        }
      }
    },
    free: () => void resize(SIZE_BYTES),
    unmount: () => void run("umount", "-l", dir),
  };
}

/** Free bytes on the disk of `dir`. */
export function freeBytes(dir: string): number {
  const { bsize, bavail } = statfsSync(dir);
  return bavail * bsize;
}
