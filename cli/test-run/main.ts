/**
 * `make test`: installs what the tests need, runs them, and ends with the slowest files, every failure
 * and skip by name, and the counts. node cli/test-run/main.ts [--coverage] [path …]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages } from "../../operator/local/install-packages.ts";
import { SERVERS } from "../../operator/local/server-programs.ts";
import { LocalEnv } from "../../operator/local/config.ts";
import { PGBOUNCER_PACKAGE } from "../../servers/pgbouncer.ts";
import { PROMETHEUS_PACKAGE } from "../../servers/prometheus.ts";
import { findProgram } from "../../servers/find-program.ts";
import { createTerminal } from "../../operator/local/terminal.ts";
import { tolerateClosedPipe } from "../../services/runtime/closed-pipe.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { closingLines, type VitestReport } from "./closing-lines.ts";

const OTHERS = {
  /** Brings promtool, which judges metrics and alerts. */
  prometheus: { programs: ["prometheus", "promtool"], packages: [PROMETHEUS_PACKAGE] },
  pgbouncer: { programs: ["pgbouncer"], packages: [PGBOUNCER_PACKAGE] },
};

const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];

/** The tests start servers as child processes; one test opens the page in a browser. */
async function prepareMachine(): Promise<void> {
  const missing = Object.values(SERVERS).filter(({ needs }) => !needs.every(findProgram));
  const packages = missing.flatMap((server) => server.packages);
  const what = missing.map(({ program }) => program);
  if (!BROWSERS.some(findProgram)) {
    packages.push("chromium");
    what.push("a browser");
  }
  for (const [name, { programs, packages: needed }] of Object.entries(OTHERS)) {
    if (programs.every(findProgram)) continue;
    packages.push(...needed);
    what.push(name);
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
    const { report, code } = await runVitest(words, join(folder, "report.json"));
    const { lines, failed } = closingLines(report, code);
    process.stdout.write(`${lines.join("\n")}\n`);
    return failed ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runVitest(
  words: readonly string[],
  reportFile: string,
): Promise<{ code: number; report: VitestReport | null }> {
  const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`];
  const child = spawn(process.execPath, [vitest, "run", ...reporters, ...words], {
    stdio: "inherit",
  });
  // Ctrl-C reaches vitest from the terminal. This process waits, to print the counts so far.
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
    return null; // vitest broke off before it wrote the report
  }
}

tolerateClosedPipe();
try {
  await prepareMachine();
  process.exitCode = await runTests(process.argv.slice(2));
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n0 passed, 1 failed, 0 skipped\n`);
  process.exitCode = 1;
}
