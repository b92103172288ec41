import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Invocation } from "../command.ts";

const SAMPLE = "manifests/samples/spring-sale.yaml";

/** Runs `make up` as a child process, forwards signals to it and returns its exit code. */
export async function up({ argument = SAMPLE }: Invocation): Promise<number> {
  const main = fileURLToPath(new URL("../../operator/local/main.ts", import.meta.url));
  const child = spawn(process.execPath, [main, "up", argument], { stdio: "inherit" });
  // Ctrl-C in a terminal reaches the child directly, too. A second signal has no effect there.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => child.kill(signal));
  }
  const [code] = (await once(child, "exit")) as [number | null];
  return code ?? 1;
}
