import { expect, test } from "vitest";
import { closingLines, filesToRunAgain, type VitestReport } from "./counts.ts";

function file(name: string, ...statuses: string[]): VitestReport {
  const assertionResults = statuses.map((status, i) => ({
    status,
    fullName: `test ${i}`,
    failureMessages: status === "failed" ? ["not 2\n    at test"] : [],
  }));
  const status = statuses.includes("failed") ? "failed" : "passed";
  return { testResults: [{ name, status, assertionResults }] };
}
const report = (...statuses: string[]) => file("a.test.ts", ...statuses);

test("closingLines() ends on the counts, and names every skipped test before", () => {
  expect(closingLines(report("passed", "passed", "skipped", "todo"), 0)).toEqual({
    lines: ["SKIPPED: test 2", "SKIPPED: test 3", "2 passed, 0 failed, 2 skipped"],
    failed: false,
  });
});

test("closingLines() names and counts failures", () => {
  expect(closingLines(report("passed", "failed"), 1)).toEqual({
    lines: ["FAILED: test 1: not 2", "1 passed, 1 failed, 0 skipped"],
    failed: true,
  });
});

test("a second run counts, and tells what failed in the first", () => {
  const first = {
    testResults: [
      ...file("a.test.ts", "passed").testResults,
      ...file("b.live.test.ts", "passed", "failed").testResults,
    ],
  };
  const again = (...statuses: string[]) =>
    closingLines(first, 0, file("b.live.test.ts", ...statuses));
  expect(again("passed", "passed")).toEqual({
    lines: ["UNSTEADY, run again alone: test 1: not 2", "3 passed, 0 failed, 0 skipped"],
    failed: false,
  });
  expect(again("failed", "passed")).toMatchObject({ failed: true });
  expect(closingLines(first, 1, null)).toMatchObject({ failed: true });
  expect(closingLines(first, 1, { testResults: [] })).toMatchObject({ failed: true });
});

test("only tests with real servers are run again, and only a few files", () => {
  const live = file("b.live.test.ts", "failed").testResults[0]!;
  const of = (...testResults: VitestReport["testResults"]) => filesToRunAgain({ testResults });
  expect(of(live)).toEqual(["b.live.test.ts"]);
  expect(of(live, ...file("a.live.test.ts", "passed").testResults)).toEqual(["b.live.test.ts"]);
  expect(of(live, ...file("a.test.ts", "failed").testResults)).toEqual([]);
  expect(of(live, live, live, live, live)).toEqual([]);
  expect(filesToRunAgain(null)).toEqual([]);
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
