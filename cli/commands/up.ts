import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Context } from "../commands.ts";

const SAMPLE = "manifests/samples/spring-sale.yaml";

/** A process of its own, so that a signal to this one reaches it and its exit code is ours. */
export async function up({ argument = SAMPLE }: Context): Promise<number> {
  const main = fileURLToPath(new URL("../../operator/local/main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "up", argument], { stdio: "inherit" });
  // From a terminal the child hears Ctrl-C itself; a second signal changes nothing there.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => child.kill(signal));
  }
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}
