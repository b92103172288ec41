/** The closing lines of a test run. Skips are named: a test that did not run has not passed. */
import { relative } from "node:path";

interface TestReport {
  readonly status: string;
  readonly fullName: string;
  readonly failureMessages?: readonly string[];
}

interface FileReport {
  /** Path of the file. */
  readonly name: string;
  readonly status: string;
  readonly startTime: number;
  readonly endTime: number;
  readonly message?: string;
  readonly assertionResults: readonly TestReport[];
}

/** The parts of vitest's JSON report that are read here. */
export interface VitestReport {
  readonly testResults: readonly FileReport[];
}

const SLOWEST = 10;

/**
 * The slowest files, then failures and skips by name, then the counts.
 * @param report null if vitest did not write one
 * @param exitCode of vitest: an error outside of any test fails the run as well
 */
export function closingLines(
  report: VitestReport | null,
  exitCode: number,
): { lines: string[]; failed: boolean } {
  const files = report?.testResults ?? [];
  const tests = files.flatMap(({ assertionResults }) => assertionResults);
  const passed = tests.filter(({ status }) => status === "passed");
  const failedTests = tests.filter(({ status }) => status === "failed");
  const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed");
  const brokenFiles = files.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  let failed = failedTests.length + brokenFiles.length;
  const lines = slowestFiles(files);
  if (exitCode !== 0 && failed === 0) {
    lines.push("FAILED outside of the tests: see above (an unhandled error, a threshold, a crash)");
    failed = 1;
  }
  for (const { name } of brokenFiles) lines.push(`FAILED as a file: ${name}`);
  for (const test of failedTests) lines.push(`FAILED: ${describeFailure(test)}`);
  for (const { fullName } of skipped) lines.push(`SKIPPED: ${fullName}`);
  lines.push(`${passed.length} passed, ${failed} failed, ${skipped.length} skipped`);
  return { lines, failed: failed > 0 };
}

function slowestFiles(files: readonly FileReport[]): string[] {
  const inSeconds = files.map(({ name, startTime, endTime }) => ({
    name,
    seconds: (endTime - startTime) / 1_000,
  }));
  const slowest = inSeconds.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST);
  return slowest.map(
    ({ name, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${relative(".", name)}`,
  );
}

function describeFailure({ fullName, failureMessages = [] }: TestReport): string {
  const [reason] = failureMessages[0]?.split("\n") ?? [];
  return reason === undefined ? fullName : `${fullName}: ${reason}`;
}
