import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { until } from "../../services/testing/until.ts";
import { holderOf } from "./port-holder.ts";
import { keepRecord, readRecords, startOf, stopRecorded } from "./process-record.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-run-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeEach(() => {
  for (const file of readdirSync(dir)) rmSync(join(dir, file));
});

function startSleeper(script = "setInterval(() => {}, 1000)") {
  return spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "ignore"] });
}

const note = (pid: number) => ({
  name: "redis",
  pid,
  stopSignal: "SIGTERM" as const,
  container: null,
});

test("a process on record is found, and stopped", async () => {
  const child = startSleeper();
  keepRecord(dir, note(child.pid!));
  const [record] = readRecords(dir);
  expect(record).toMatchObject({ pid: child.pid, name: "redis" });
  const ended = once(child, "exit");
  await stopRecorded(record!);
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(readRecords(dir)).toEqual([]);
  expect(readdirSync(dir)).toEqual([]);
});

test("a process that does not stop when asked is killed after a while", async () => {
  const child = startSleeper(
    "process.on('SIGTERM', () => {}); console.log(1); setInterval(() => {}, 1000)",
  );
  await once(child.stdout, "data");
  keepRecord(dir, note(child.pid!));
  const ended = once(child, "exit");
  await stopRecorded(readRecords(dir)[0]!, 200);
  expect(await ended).toEqual([null, "SIGKILL"]);
});

test("a pid that now belongs to somebody else is not ours: never stopped", async () => {
  const stranger = startSleeper();
  const startedAt = "another run of this machine 12345";
  const file = join(dir, "redis.pid.json");
  writeFileSync(file, JSON.stringify({ ...note(stranger.pid!), startedAt }));
  expect(readRecords(dir)).toEqual([]);
  await stopRecorded({ ...note(stranger.pid!), startedAt });
  expect(startOf(stranger.pid!)).not.toBeNull();
  stranger.kill("SIGKILL");
  await until("it is gone", () => startOf(stranger.pid!) === null);
});

test("holderOf() names who listens on a port, and null for one that nobody has", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  expect(holderOf(port)).toMatch(new RegExp(`\\(pid ${process.pid}\\)$`));
  server.close();
  await once(server, "close");
  expect(holderOf(port)).toBeNull();
});
