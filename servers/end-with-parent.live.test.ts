/** The processes that a benchmark or an experiment starts end with it, however it ends. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "../services/testing/until.ts";
import { findProgram } from "./find-program.ts";

const here = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);

test
  .skipIf(findProgram("setpriv") === null)
  .each(["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"] as const)(
  "a program that is ended by %s leaves neither a server nor a pinned process behind",
  async (signal) => {
    const dir = mkdtempSync(join(tmpdir(), "gavel-end-"));
    const script = `
      import { startRedis } from ${here("store-servers.ts")};
      import { freePort } from ${here("ports.ts")};
      import { runPinned } from ${here("../load/pinned.ts")};
      const redis = await startRedis({ dir: ${JSON.stringify(dir)}, port: await freePort() });
      const sink = runPinned(0, "load/otlp-sink.ts");
      await sink.next();
      console.log(JSON.stringify([redis.pid, sink.child.pid]));
      setInterval(() => {}, 1_000);
    `;
    const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    const pids = await until("it has started them", () => {
      return output.includes("]\n") ? (JSON.parse(output) as number[]) : null;
    });
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual(pids);
    child.kill(signal);
    await until("they have ended", () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    rmSync(dir, { recursive: true, force: true });
  },
);
