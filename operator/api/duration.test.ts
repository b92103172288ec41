import { expect, test } from "vitest";
import { parseDurationMs } from "./duration.ts";

test.each([
  ["0s", 0],
  ["500ms", 500],
  ["30s", 30_000],
  ["2m", 120_000],
  ["1h30m", 5_400_000],
  ["1h0m0s", 3_600_000],
])("parseDurationMs() reads %s", (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

test.each(["", "30", "-1s", "2 minutes", "1.5h", "1d", "s", "1H", "9999999999999999999h"])(
  "parseDurationMs() does not read %j",
  (text) => {
    expect(parseDurationMs(text)).toBeNull();
  },
);
