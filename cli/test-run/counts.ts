/** The last words of a test run. Skips are loud: a test that did not run has not passed. */

interface TestReport {
  readonly status: string;
  readonly fullName: string;
  readonly failureMessages?: readonly string[];
}

/** Of vitest's JSON reporter, what is read here. */
export interface VitestReport {
  readonly testResults: readonly {
    /** Path of the file. */
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly TestReport[];
  }[];
}

export interface Closing {
  readonly lines: readonly string[];
  readonly failed: boolean;
}

/** So many files may have failed by the machine's doing; more have a cause in common. */
const SECOND_RUNS = 4;
/** Tests with real servers and clocks: a machine that is busy elsewhere can fail them. */
const ON_THE_REAL_THING = /\.(live|cluster)\.test\.ts$/;

/** Files to be run once more, alone; none where a failure cannot be the machine's. */
export function filesToRunAgain(report: VitestReport | null): string[] {
  const failed = (report?.testResults ?? []).filter(({ status }) => status === "failed");
  const names = failed.map(({ name }) => name);
  const mayBe = names.length <= SECOND_RUNS && names.every((name) => ON_THE_REAL_THING.test(name));
  return mayBe ? names : [];
}

/**
 * @param report null where vitest broke off
 * @param exitCode of vitest: what went wrong outside of any test fails the run as well
 * @param again of the files that were run once more, alone: it counts for them, and what passed only now
 *   is named
 */
export function closingLines(
  report: VitestReport | null,
  exitCode: number,
  again: VitestReport | null = null,
): Closing {
  const second = new Map(again?.testResults.map((file) => [file.name, file]));
  const files = (report?.testResults ?? []).map((file) => second.get(file.name) ?? file);
  const tests = files.flatMap(({ assertionResults }) => assertionResults);
  const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed");
  const passed = tests.filter(({ status }) => status === "passed").length;
  const brokenFiles = files.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  const failedTests = tests.filter(({ status }) => status === "failed");
  let failed = failedTests.length + brokenFiles.length;
  const lines: string[] = [];
  if (exitCode !== 0 && failed === 0) {
    lines.push("FAILED outside of the tests: see above (an unhandled error, a threshold, a crash)");
    failed = 1;
  }
  for (const file of report?.testResults ?? []) {
    if (!second.has(file.name)) continue;
    for (const test of file.assertionResults) {
      if (test.status === "failed") lines.push(`UNSTEADY, run again alone: ${told(test)}`);
    }
  }
  for (const { name } of brokenFiles) lines.push(`FAILED as a file: ${name}`);
  for (const test of failedTests) lines.push(`FAILED: ${told(test)}`);
  for (const { fullName } of skipped) lines.push(`SKIPPED: ${fullName}`);
  lines.push(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return { lines, failed: failed > 0 };
}

const told = ({ fullName, failureMessages = [] }: TestReport): string =>
  [fullName, ...failureMessages.slice(0, 1).map((message) => message.split("\n")[0])].join(": ");
