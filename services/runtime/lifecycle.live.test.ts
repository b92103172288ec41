/** A process and the signals that it gets. It needs no server. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { until } from "../testing/until.ts";

const moduleUrl = (file: string) => new URL(file, import.meta.url).href;

/** A process whose start and drain each last until a line arrives on its stdin. */
const PROGRAM = `
  import { createInterface } from "node:readline";
  import { runProcess } from "${moduleUrl("lifecycle.ts")}";
  import { createLog } from "${moduleUrl("log.ts")}";
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const log = createLog("test", "info");
  await runProcess(log, 60_000, async (lifecycle) => {
    log.info("starting");
    await lines.next();
    lifecycle.onStop("work", async () => {
      log.info("draining");
      await lines.next();
      log.info("drained");
    });
    log.info("started");
  });
`;

function run(): { child: ChildProcess; says: (text: string, times?: number) => Promise<unknown> } {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", PROGRAM]);
  onTestFinished(() => void child.kill("SIGKILL"));
  let output = "";
  child.stdout.on("data", (text: Buffer) => (output += text.toString()));
  const says = (text: string, times = 1) =>
    until(`it says ${text}`, () => output.split(`"${text}"`).length > times);
  return { child, says };
}

test("further signals, of the same kind or another, do not end a drain", async () => {
  const { child, says } = run();
  const exited = once(child, "exit");
  child.stdin!.write("start\n");
  await says("started");
  child.kill("SIGTERM");
  await says("draining");
  child.kill("SIGINT");
  child.kill("SIGTERM");
  await says("already stopping", 2);
  child.stdin!.write("stop\n");
  await says("drained");
  expect(await exited).toEqual([0, null]);
});

test("a process that gets a signal while it starts stops the components that it has started", async () => {
  const { child, says } = run();
  const exited = once(child, "exit");
  await says("starting");
  child.kill("SIGTERM");
  await says("stopping");
  child.stdin!.write("start\nstop\n");
  await says("drained");
  expect(await exited).toEqual([0, null]);
});
