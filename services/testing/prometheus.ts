/** A real Prometheus for one test file. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPrometheus, type Target } from "../../operator/local/prometheus.ts";
import { freePort } from "../../operator/local/server-process.ts";
import { afterFile } from "./after-file.ts";

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface TestPrometheus {
  readonly url: string;
  /** What an expression comes to now; "NaN" is a value. @throws Error with Prometheus's words */
  query(expression: string): Promise<Sample[]>;
}

export async function startTestPrometheus(targets: readonly Target[]): Promise<TestPrometheus> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-prometheus-"));
  const server = await startPrometheus({
    ...{ dir, targets, everySeconds: 1, port: await freePort() },
    logFile: join(dir, "prometheus.log"),
  });
  if (server === null) throw new Error("prometheus is not installed");
  afterFile(async () => {
    await server.kill();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    url: server.url,
    async query(expression) {
      const body = new URLSearchParams({ query: expression });
      const answer = await fetch(`${server.url}/api/v1/query`, { method: "POST", body });
      const { status, error, data } = (await answer.json()) as {
        status: string;
        error?: string;
        data: { resultType: string; result: { metric: {}; value: [number, string] }[] };
      };
      if (status !== "success") throw new Error(`${expression}: ${error}`);
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
  };
}
