/**
 * `make test`: sees that the machine has what the tests need, runs them, and ends on one line with
 * the counts. Where only a few files failed, all of them with real servers, those are run once more,
 * alone, and each test that failed before is named. node cli/test-run/main.ts [--coverage] [path …]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages, SERVERS } from "../../operator/local/find-servers.ts";
import { LocalEnv } from "../../operator/local/config.ts";
import { PROMETHEUS_PACKAGE } from "../../operator/local/prometheus.ts";
import { findProgram } from "../../servers/store-servers.ts";
import { createTerminal } from "../../operator/local/terminal.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { type Closing, closingLines, filesToRunAgain, type VitestReport } from "./counts.ts";

/** It brings promtool, which judges metrics and alerts. */
const PROMETHEUS = { programs: ["prometheus", "promtool"], packages: [PROMETHEUS_PACKAGE] };

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];

/** The tests start servers themselves, as programs; one looks at the page with a browser. */
async function prepareMachine(): Promise<void> {
  const missing = Object.values(SERVERS).filter(({ needs }) => !needs.every(findProgram));
  const packages = missing.flatMap((server) => server.packages);
  const what = missing.map(({ program }) => program);
  if (!BROWSERS.some(findProgram)) {
    packages.push("chromium");
    what.push("a browser");
  }
  if (!PROMETHEUS.programs.every(findProgram)) {
    packages.push(...PROMETHEUS.packages);
    what.push("prometheus");
  }
  if (packages.length === 0) return;
  if (findProgram("apt-get") === null) {
    process.stdout.write(`The tests need ${what.join(", ")}, and there is no apt-get: skipped.\n`);
    return;
  }
  const { YES } = readEnv(LocalEnv);
  await installPackages(packages, `The tests need ${what.join(", ")}`, createTerminal(YES));
}

async function runTests(words: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "gavel-test-"));
  try {
    const first = await runVitest(words, join(folder, "report.json"));
    const files = words.includes("--coverage") ? [] : filesToRunAgain(first.report);
    if (files.length === 0) return close(closingLines(first.report, first.code));
    process.stdout.write(`Once more, alone: ${files.join(" ")}\n`);
    const alone = await runVitest(["--no-file-parallelism", ...files], join(folder, "again.json"));
    return close(closingLines(first.report, alone.code, alone.report));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function close({ lines, failed }: Closing): number {
  process.stdout.write(`${lines.join("\n")}\n`);
  return failed ? 1 : 0;
}

async function runVitest(
  words: readonly string[],
  reportFile: string,
): Promise<{ code: number; report: VitestReport | null }> {
  const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
  const child = spawn(process.execPath, [vitest, "run", ...reporters, ...words], {
    stdio: "inherit",
  });
  // Ctrl-C reaches vitest from the terminal; we stay to say how far it came.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => child.kill(signal));
  }
  const [code] = (await once(child, "exit")) as [number | null];
  return { code: code ?? 1, report: readReport(reportFile) };
}

function readReport(path: string): VitestReport | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as VitestReport;
  } catch {
    return null; // vitest did not come to write it
  }
}

try {
  await prepareMachine();
  process.exitCode = await runTests(process.argv.slice(2));
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n0 passed, 1 failed, 0 skipped\n`);
  process.exitCode = 1;
}
