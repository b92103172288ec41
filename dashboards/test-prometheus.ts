/** A Prometheus server for one test file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { queryNow, type Sample } from "./prometheus-api.ts";
import { freePort } from "../servers/ports.ts";
import { type ScrapeTarget, startPrometheus } from "../servers/prometheus.ts";
import { afterFile } from "../services/testing/after-file.ts";

const RULES = fileURLToPath(new URL("alerts.yaml", import.meta.url));

export interface TestPrometheus {
  readonly url: string;
  /** The present value of an expression. @throws Error with the message of Prometheus */
  query(expression: string): Promise<Sample[]>;
}

export async function startTestPrometheus(
  targets: readonly ScrapeTarget[],
): Promise<TestPrometheus> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-prometheus-"));
  const server = await startPrometheus({
    dir,
    targets,
    ruleFiles: [RULES],
    scrapeIntervalSeconds: 1,
    port: await freePort(),
    logFile: join(dir, "prometheus.log"),
  });
  afterFile(async () => {
    await server.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    url: server.url,
    query: (expression) => queryNow(server.url, expression),
  };
}
