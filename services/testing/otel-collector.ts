/**
 * A real OpenTelemetry collector between our processes and a test's receiver: what it does not take, or
 * does not understand, never arrives. Built once from its Go modules where there is Go; null where there is not.
 */
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { endWithParent } from "../../servers/end-with-parent.ts";
import { findProgram } from "../../servers/find-program.ts";
import { freePort } from "../../servers/ports.ts";
import { afterFile } from "./after-file.ts";
import { until } from "./until.ts";

const VERSION = "v0.158.0";
const BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.164.0";
const FOLDER = join(homedir(), ".cache", "gavel");
const BINARY = join(FOLDER, `otelcol-${VERSION}`);
const BUILD_TIMEOUT_MS = 8 * 60_000;

const run = promisify(execFile);

/** How long a test that may have to build it should allow. */
export const COLLECTOR_TIMEOUT_MS = BUILD_TIMEOUT_MS + 60_000;

/**
 * Starts one that passes spans on as JSON; stopped after the file.
 * @param to base URL of the receiver
 * @param host address of this machine to listen on
 * @returns base URL for OTEL_EXPORTER_OTLP_ENDPOINT; null where it cannot be built
 */
export async function startCollector(to: string, host = "127.0.0.1"): Promise<string | null> {
  const binary = await collectorBinary();
  if (binary === null) return null;
  const dir = mkdtempSync(join(tmpdir(), "gavel-otelcol-"));
  const port = await freePort();
  const config = join(dir, "config.json");
  writeFileSync(config, JSON.stringify(configOf(`${host}:${port}`, to)));
  const child = spawn(...endWithParent(binary, ["--config", config]), { stdio: "ignore" });
  process.once("exit", () => child.kill("SIGKILL"));
  afterFile(() => {
    child.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  });
  const url = `http://${host}:${port}`;
  await until("the collector listens", () => fetch(url));
  return url;
}

function configOf(endpoint: string, to: string): object {
  return {
    receivers: { otlp: { protocols: { http: { endpoint } } } },
    exporters: { otlphttp: { endpoint: to, encoding: "json", compression: "none" } },
    service: {
      telemetry: { metrics: { level: "none" }, logs: { level: "error" } },
      pipelines: { traces: { receivers: ["otlp"], exporters: ["otlphttp"] } },
    },
  };
}

async function collectorBinary(): Promise<string | null> {
  if (existsSync(BINARY)) return BINARY;
  const go = findProgram("go");
  if (go === null) return null;
  mkdirSync(FOLDER, { recursive: true });
  const dir = mkdtempSync(join(FOLDER, "build-"));
  try {
    const env = { ...process.env, GOBIN: dir, PATH: `${join(go, "..")}:${process.env["PATH"]}` };
    const options = { env, cwd: dir, timeout: BUILD_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
    writeFileSync(join(dir, "build.yaml"), manifest(dir));
    await run("nice", [go, "install", BUILDER], options);
    const build = ["--skip-strict-versioning", "--config", "build.yaml"];
    await run("nice", [join(dir, "builder"), ...build], options);
    // Beside another that builds it at the same time: the last one counts, and both are whole.
    renameSync(join(dir, "out", "otelcol"), BINARY);
    return BINARY;
  } catch (error) {
    process.stderr.write(`the OpenTelemetry collector cannot be built here: ${String(error)}\n`);
    return null;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function manifest(dir: string): string {
  const module = (name: string) => `  - gomod: go.opentelemetry.io/collector/${name} ${VERSION}\n`;
  return (
    `dist:\n  name: otelcol\n  output_path: ${join(dir, "out")}\n` +
    `receivers:\n${module("receiver/otlpreceiver")}` +
    `exporters:\n${module("exporter/otlphttpexporter")}`
  );
}
