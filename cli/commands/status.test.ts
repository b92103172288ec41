import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { startInstantOf } from "../../operator/local/process-record.ts";
import { freePort } from "../../servers/ports.ts";
import { runHere } from "../testing/run-here.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-status-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** Nothing listens here. */
const port = await freePort();
const CLOSED = `127.0.0.1:${port}`;

test("status shows a run of an earlier version, which recorded no processes and had no passwords", async () => {
  const internal = `http://${CLOSED}`;
  const run = {
    pid: process.pid,
    startedAt: startInstantOf(process.pid),
    ready: true,
    endpoints: {
      gateway: internal,
      stream: `ws://${CLOSED}/v1/stream`,
      internal: { archival: internal, gateway: internal, broadcast: internal },
    },
    storePorts: { redis: port, nats: port, postgres: port },
    auction: null,
  };
  mkdirSync(join(dir, "run"));
  writeFileSync(join(dir, "run", "up.json"), JSON.stringify(run));

  const { status, stdout, stderr } = await runHere(["status"], { GAVEL_DIR: dir });
  expect([status, stderr]).toEqual([1, ""]);
  for (const tier of ["archival", "gateway", "broadcast"]) {
    expect(stdout).toMatch(new RegExp(`^${tier} +\\S`, "m"));
  }
  expect(stdout).toMatch(/^redis +does not answer/m);
  expect(stdout).toContain(`health   ${internal}  ${internal}  ${internal}`);
});
