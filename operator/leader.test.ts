import { pino } from "pino";
import { expect, test } from "vitest";
import { afterFile } from "../services/testing/after-file.ts";
import { connectCluster } from "./cluster.ts";
import { lead } from "./leader.ts";
import { startFakeApiServer, status } from "./testing/fake-api-server.ts";

test("who leads stops in time while a renewal hangs", async () => {
  const server = await startFakeApiServer();
  const cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile });
  afterFile(() => cluster.close());
  const lease = { kind: "json", body: { metadata: { name: "x" } } } as const;
  server.onCall(status(404, "NotFound", "none"), lease, { kind: "silence" });
  let workedMs = 0;
  const result = await lead(
    {
      ...{ cluster, namespace: "default", name: "x", identity: "me" },
      log: pino({ level: "silent" }),
      timing: { leaseMs: 1_000, renewWithinMs: 600, retryMs: 100 },
    },
    (signal) =>
      new Promise((resolve) => {
        const beganMs = performance.now();
        signal.addEventListener("abort", () => {
          workedMs = performance.now() - beganMs;
          resolve();
        });
      }),
    new AbortController().signal,
  );
  expect(result).toBe("lost");
  expect(workedMs).toBeGreaterThan(300);
  expect(workedMs).toBeLessThan(1_000);
}, 20_000);
