/** A small disk of its own for a store, that can be filled and given space again at once. */
import { execFileSync } from "node:child_process";
import { mkdirSync, statfsSync } from "node:fs";

const SIZE_BYTES = 6 * 1024 * 1024 * 1024;

export interface Disk {
  /** Null where this user may not mount: why not. The store then lies on a plain folder. */
  readonly why: string | null;
  /** From now on there is no space left. */
  fill(): void;
  free(): void;
  unmount(): void;
}

/** Mounts a tmpfs at `dir`: it takes memory only for what lies in it. */
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
      // It grows while we look: what is in use by then cannot be taken back.
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

/** Bytes left on the disk under `dir`. */
export function freeBytes(dir: string): number {
  const { bsize, bavail } = statfsSync(dir);
  return bavail * bsize;
}
