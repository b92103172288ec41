/** Finds a program on this machine. */
import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

/** Debian installs the server programs of Postgres outside PATH, in one folder per version. */
const POSTGRES_VERSIONS = "/usr/lib/postgresql";

/** The absolute path of a program on PATH or in Debian's Postgres folders; null if it is not installed. */
export function findProgram(name: string): string | null {
  const postgresBins = existsSync(POSTGRES_VERSIONS)
    ? readdirSync(POSTGRES_VERSIONS)
        .sort((a, b) => Number(b) - Number(a))
        .map((version) => join(POSTGRES_VERSIONS, version, "bin"))
    : [];
  const onPath = (process.env["PATH"] ?? "").split(delimiter);
  const folders = [...postgresBins, ...onPath, "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}
