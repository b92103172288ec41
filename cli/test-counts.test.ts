import { expect, test } from "vitest";
import { closingLines, type VitestReport } from "./test-counts.ts";

function report(...statuses: string[]): VitestReport {
  const assertionResults = statuses.map((status, i) => ({ status, fullName: `test ${i}` }));
  const status = statuses.includes("failed") ? "failed" : "passed";
  return { testResults: [{ name: "a.test.ts", status, assertionResults }] };
}

test("closingLines() ends on the counts, and names every skipped test before", () => {
  expect(closingLines(report("passed", "passed", "skipped", "todo"), 0)).toEqual({
    lines: ["SKIPPED: test 2", "SKIPPED: test 3", "2 passed, 0 failed, 2 skipped"],
    failed: false,
  });
});

test("closingLines() counts failures", () => {
  const { lines, failed } = closingLines(report("passed", "failed"), 1);
  expect(lines.at(-1)).toBe("1 passed, 1 failed, 0 skipped");
  expect(failed).toBe(true);
});

test("closingLines() counts a file that did not load", () => {
  const broken = { testResults: [{ name: "b.ts", status: "failed", assertionResults: [] }] };
  expect(closingLines(broken, 1).lines).toEqual([
    "FAILED as a file: b.ts",
    "0 passed, 1 failed, 0 skipped",
  ]);
});

test("closingLines() never calls a run passed that vitest does not", () => {
  expect(closingLines(report("passed"), 1)).toMatchObject({ failed: true });
  expect(closingLines(null, 1)).toMatchObject({ failed: true });
  expect(closingLines(null, 1).lines.at(-1)).toBe("0 passed, 1 failed, 0 skipped");
});
