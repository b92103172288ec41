import { expect, test } from "vitest";
import { tableOf } from "./table.ts";

test("tableOf() aligns numbers to the right and text to the left", () => {
  const rows = [
    ["oak-table", "12000", null],
    ["vase", "500", new Date(0)],
  ];
  expect(tableOf(["lot", "amount", "at"], rows)).toBe(
    [
      "lot        amount  at",
      "---------  ------  ------------------------",
      "oak-table   12000",
      "vase          500  1970-01-01T00:00:00.000Z",
    ].join("\n"),
  );
});

test("tableOf() shows control characters instead of obeying them, and cuts long cells", () => {
  const text = tableOf(["a"], [["\u001b[31mred\n"], ["x".repeat(500)]]);
  expect(text).not.toContain("\u001b");
  expect(text).toContain("\\u001b[31mred\\n");
  expect(text).toContain("…");
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBe(200);
});
