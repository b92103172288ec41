/** Runs once before the live tests: a process that a test kills leaves nothing in Node's compile cache. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

const PROGRAMS = ["../gateway/main.ts", "../broadcast/main.ts", "../archival/main.ts"];

export default async function fillCompileCache({ config }: TestProject): Promise<void> {
  await Promise.all(
    PROGRAMS.map(async (program) => {
      const main = fileURLToPath(new URL(program, import.meta.url));
      // Without its variables it ends as soon as it is loaded.
      const child = spawn(process.execPath, [main], { env: config.env, stdio: "ignore" });
      await once(child, "exit");
    }),
  );
}
