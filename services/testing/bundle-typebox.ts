/**
 * Bundles typebox before the tests run. It consists of 700 small files, and loading them is a third of the
 * start-up time of every process; the tests start hundreds. Same code, one file: use-bundled-typebox.ts.
 */
import { existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { BUNDLE, TYPEBOX_PACKAGE } from "./use-bundled-typebox.ts";

interface Package {
  readonly exports: Readonly<Record<string, unknown>>;
}

/** Called once by vitest. Does nothing if a bundle of this version exists. */
export default async function bundleTypebox(): Promise<void> {
  if (existsSync(BUNDLE)) return;
  const { exports } = JSON.parse(readFileSync(TYPEBOX_PACKAGE, "utf8")) as Package;
  const entries = Object.keys(exports).map((path) => [
    path === "." ? "index" : path.slice(2),
    path.replace(".", "typebox"),
  ]);
  const outDir = fileURLToPath(new URL(`../typebox-${process.pid}`, BUNDLE));
  await build({
    configFile: false,
    logLevel: "error",
    ssr: { noExternal: true },
    build: {
      ssr: true,
      outDir,
      minify: false,
      rolldownOptions: {
        input: Object.fromEntries(entries) as Record<string, string>,
        output: { entryFileNames: "[name].mjs", chunkFileNames: "chunk-[hash].mjs" },
      },
    },
  });
  try {
    renameSync(outDir, BUNDLE);
  } catch {
    rmSync(outDir, { recursive: true }); // another run was faster
  }
}
