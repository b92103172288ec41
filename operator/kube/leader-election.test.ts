import { pino } from "pino";
import { expect, test } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { connectCluster } from "./client.ts";
import { runAsLeader } from "./leader-election.ts";
import { startFakeApiServer, status } from "../testing/fake-api-server.ts";

/** When another process may take the Lease; the hanging renewal times out later. */
const LEASE_MS = 4_500;

test("a leader stops in time while a renewal hangs", async () => {
  const server = await startFakeApiServer();
  const cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile });
  afterFile(() => cluster.close());
  const lease = { kind: "json", body: { metadata: { name: "x" } } } as const;
  server.onCall(status(404, "NotFound", "none"), lease, { kind: "silence" });
  const beganMs = performance.now();
  let stoppedMs = 0;
  const result = await runAsLeader(
    {
      cluster,
      namespace: "default",
      name: "x",
      identity: "me",
      log: pino({ level: "silent" }),
      timing: { leaseMs: LEASE_MS, renewWithinMs: 600, retryMs: 100 },
    },
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => {
          stoppedMs = performance.now() - beganMs;
          resolve();
        });
      }),
    new AbortController().signal,
  );
  expect(result).toBe("lost");
  expect(stoppedMs).toBeGreaterThan(590);
  expect(stoppedMs).toBeLessThan(LEASE_MS);
});
