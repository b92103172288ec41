import { expect, test } from "vitest";
import { isMinor, MAX_MINOR, printMajor } from "./money.ts";

test.each([
  [12_550, 2, "125.50"],
  [1, 2, "0.01"],
  [0, 3, "0.000"],
  [12_550, 0, "12550"],
  [MAX_MINOR, 2, "90071992547409.91"],
])("printMajor(%i, %i) is %s", (minor, digits, text) => {
  expect(printMajor(minor, digits)).toBe(text);
});

test("only integers from 0 to 2^53 − 1 are minor units", () => {
  for (const value of [0, 1, MAX_MINOR]) expect(isMinor(value)).toBe(true);
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53, "1", null])
    expect(isMinor(value)).toBe(false);
});
