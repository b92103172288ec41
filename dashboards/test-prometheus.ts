/** A real Prometheus for one test file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPrometheus, type Target } from "../operator/local/prometheus.ts";
import { queryNow, type Sample } from "./ask-prometheus.ts";
import { freePort } from "../servers/server-process.ts";
import { afterFile } from "../services/testing/after-file.ts";

export interface TestPrometheus {
  readonly url: string;
  /** What an expression comes to now; "NaN" is a value. @throws Error with Prometheus's words */
  query(expression: string): Promise<Sample[]>;
}

export async function startTestPrometheus(targets: readonly Target[]): Promise<TestPrometheus> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-prometheus-"));
  const server = await startPrometheus({
    dir,
    targets,
    everySeconds: 1,
    port: await freePort(),
    logFile: join(dir, "prometheus.log"),
  });
  if (server === null) throw new Error("prometheus is not installed");
  afterFile(async () => {
    await server.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    url: server.url,
    query: (expression) => queryNow(server.url, expression),
  };
}
