/** The last words of a test run. Skips are loud: a test that did not run has not passed. */

/** Of vitest's JSON reporter, what is read here. */
export interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

export interface Closing {
  readonly lines: readonly string[];
  readonly failed: boolean;
}

/**
 * @param report null where vitest broke off
 * @param exitCode of vitest: what went wrong outside of any test fails the run as well
 */
export function closingLines(report: VitestReport | null, exitCode: number): Closing {
  const files = report?.testResults ?? [];
  const tests = files.flatMap(({ assertionResults }) => assertionResults);
  const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed");
  const passed = tests.filter(({ status }) => status === "passed").length;
  const brokenFiles = files.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  const failedTests = tests.filter(({ status }) => status === "failed").length;
  let failed = failedTests + brokenFiles.length;
  const lines: string[] = [];
  if (exitCode !== 0 && failed === 0) {
    lines.push("FAILED outside of the tests: see above (an unhandled error, a threshold, a crash)");
    failed = 1;
  }
  for (const { name } of brokenFiles) lines.push(`FAILED as a file: ${name}`);
  for (const { fullName } of skipped) lines.push(`SKIPPED: ${fullName}`);
  lines.push(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return { lines, failed: failed > 0 };
}
