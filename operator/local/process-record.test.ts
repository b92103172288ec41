import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { until } from "../../services/testing/until.ts";
import { processListeningOn } from "./port-owner.ts";
import {
  writeProcessRecord,
  readProcessRecords,
  startInstantOf,
  stopRecordedProcess,
} from "./process-record.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-run-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeEach(() => {
  for (const file of readdirSync(dir)) rmSync(join(dir, file));
});

function startSleeper(script = "setInterval(() => {}, 1000)") {
  return spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "ignore"] });
}

const record = (pid: number) => ({
  name: "redis",
  pid,
  stopSignal: "SIGTERM" as const,
  container: null,
});

test("a recorded process is found and stopped", async () => {
  const child = startSleeper();
  writeProcessRecord(dir, record(child.pid!));
  const [found] = readProcessRecords(dir);
  expect(found).toMatchObject({ pid: child.pid, name: "redis" });
  const ended = once(child, "exit");
  await stopRecordedProcess(found!);
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(readProcessRecords(dir)).toEqual([]);
  expect(readdirSync(dir)).toEqual([]);
});

test("a process that ignores its stop signal is killed after the timeout", async () => {
  const child = startSleeper(
    "process.on('SIGTERM', () => {}); console.log(1); setInterval(() => {}, 1000)",
  );
  await once(child.stdout, "data");
  writeProcessRecord(dir, record(child.pid!));
  const ended = once(child, "exit");
  await stopRecordedProcess(readProcessRecords(dir)[0]!, 200);
  expect(await ended).toEqual([null, "SIGKILL"]);
});

test("a process that reuses a recorded pid is never stopped", async () => {
  const stranger = startSleeper();
  const startedAt = "another run of this machine 12345";
  const file = join(dir, "redis.pid.json");
  writeFileSync(file, JSON.stringify({ ...record(stranger.pid!), startedAt }));
  expect(readProcessRecords(dir)).toEqual([]);
  await stopRecordedProcess({ ...record(stranger.pid!), startedAt });
  expect(startInstantOf(stranger.pid!)).not.toBeNull();
  stranger.kill("SIGKILL");
  await until("it is gone", () => startInstantOf(stranger.pid!) === null);
});

test("processListeningOn() names the process on a port, and is null for a free port", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  expect(processListeningOn(port)).toMatch(new RegExp(`\\(pid ${process.pid}\\)$`));
  server.close();
  await once(server, "close");
  expect(processListeningOn(port)).toBeNull();
});
