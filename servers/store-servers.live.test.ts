/** Every user may write to /var/tmp: a folder of another user there must not be used as the data of Postgres. */
import { createHash } from "node:crypto";
import { chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { afterFile } from "../services/testing/after-file.ts";
import { freePort } from "./ports.ts";
import { removePostgresData, startPostgres } from "./store-servers.ts";

/** A folder that only its owner enters, as a clone under /root. */
function folder(parent = tmpdir()): string {
  const dir = mkdtempSync(join(parent, "gavel-safe-"));
  afterFile(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Where Postgres would put its data: nothing is started. */
async function dataDirectoryOf(dir: string): Promise<string> {
  let found = "";
  const fill = (data: string) => {
    found = data;
    return Promise.reject(new Error("stop here"));
  };
  await expect(startPostgres({ dir, port: await freePort() }, "p", fill)).rejects.toThrow("stop");
  return found;
}

const start = async (dir: string) => startPostgres({ dir, port: await freePort() }, "p");

test.skipIf(process.getuid?.() !== 0)(
  "as root, Postgres gets a folder of its user in /var/tmp, does not follow a link planted there, and keeps the folder",
  async () => {
    const dir = join(folder(), "postgres");
    const victim = folder();
    const guess = createHash("sha256").update(join(dir, "data")).digest("hex").slice(0, 12);
    symlinkSync(victim, `/var/tmp/gavel-${guess}`);
    afterFile(() => rmSync(`/var/tmp/gavel-${guess}`, { force: true }));
    const data = await dataDirectoryOf(dir);
    expect(data).toMatch(/^\/var\/tmp\/gavel-/);
    expect(data).not.toBe(victim);
    expect(lstatSync(victim).uid).toBe(0);
    expect(lstatSync(data).mode & 0o077).toBe(0);
    expect(await dataDirectoryOf(dir)).toBe(data);

    // It was removed there, and somebody else made one of the same name.
    rmSync(data, { recursive: true });
    await expect(start(dir)).rejects.toThrow("is a link to nothing");
    mkdirSync(data, { mode: 0o700 });
    chownSync(data, 65_534, 65_534);
    await expect(start(dir)).rejects.toThrow("is not the data of Postgres");
    expect(() => removePostgresData(dir)).toThrow("is not the data of Postgres");
    rmSync(data, { recursive: true });
    symlinkSync(victim, data);
    await expect(start(dir)).rejects.toThrow("is not the data of Postgres");
    rmSync(data);
  },
);
