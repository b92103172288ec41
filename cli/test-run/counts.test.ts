import { expect, test } from "vitest";
import { closingLines, type VitestReport } from "./closing-lines.ts";

type FileReport = VitestReport["testResults"][number];

function file(name: string, statuses: readonly string[], seconds = 1): FileReport {
  const assertionResults = statuses.map((status, i) => ({
    status,
    fullName: `test ${i}`,
    failureMessages: status === "failed" ? ["not 2\n    at test"] : [],
  }));
  const status = statuses.includes("failed") ? "failed" : "passed";
  return { name, status, assertionResults, startTime: 0, endTime: seconds * 1_000 };
}

const report = (...statuses: string[]) => ({ testResults: [file("a.test.ts", statuses)] });

test("closingLines() ends with the counts and names every skipped test before them", () => {
  expect(closingLines(report("passed", "passed", "skipped", "todo"), 0)).toEqual({
    lines: [
      "    1.0 s  a.test.ts",
      "SKIPPED: test 2",
      "SKIPPED: test 3",
      "2 passed, 0 failed, 2 skipped",
    ],
    failed: false,
  });
});

test("closingLines() names and counts failures", () => {
  expect(closingLines(report("passed", "failed"), 1)).toEqual({
    lines: ["    1.0 s  a.test.ts", "FAILED: test 1: not 2", "1 passed, 1 failed, 0 skipped"],
    failed: true,
  });
});

test("closingLines() starts with the ten slowest files, the slowest first", () => {
  const testResults = Array.from({ length: 12 }, (_, n) => file(`${n}.test.ts`, ["passed"], n));
  const { lines } = closingLines({ testResults }, 0);
  expect(lines).toHaveLength(11);
  expect(lines.slice(0, 2)).toEqual(["   11.0 s  11.test.ts", "   10.0 s  10.test.ts"]);
  expect(lines[9]).toBe("    2.0 s  2.test.ts");
});

test("closingLines() counts a file that did not load", () => {
  const broken = { ...file("b.ts", []), status: "failed" };
  expect(closingLines({ testResults: [broken] }, 1).lines.slice(1)).toEqual([
    "FAILED as a file: b.ts",
    "0 passed, 1 failed, 0 skipped",
  ]);
});

test("closingLines() never calls a run passed that vitest calls failed", () => {
  expect(closingLines(report("passed"), 1)).toMatchObject({ failed: true });
  expect(closingLines(null, 1)).toMatchObject({ failed: true });
  expect(closingLines(null, 1).lines.at(-1)).toBe("0 passed, 1 failed, 0 skipped");
});
