import fc from "fast-check";
import { expect, test } from "vitest";
import { isMinor, MAX_MINOR, parseMajor, printMajor } from "./money.ts";

test("printMajor and parseMajor are inverse for every amount and number of digits", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 4 }), (minor, digits) => {
      expect(parseMajor(printMajor(minor, digits), digits)).toBe(minor);
    }),
  );
});

test("parseMajor takes exactly the amounts that the currency can express", () => {
  const cases: [text: string, digits: number, minor: number | null][] = [
    ["125", 2, 12_500],
    ["125.5", 2, 12_550],
    ["125.50", 2, 12_550],
    ["0.01", 2, 1],
    ["125.505", 2, null],
    ["125.5", 0, null],
    ["-1", 2, null],
    ["1e3", 2, null],
    ["1,000", 2, null],
    [".5", 2, null],
    ["", 2, null],
    ["Infinity", 2, null],
    ["90071992547409.91", 2, MAX_MINOR],
    ["90071992547409.92", 2, null],
  ];
  for (const [text, digits, minor] of cases)
    expect([text, parseMajor(text, digits)]).toEqual([text, minor]);
});

test("only integers from 0 to 2^53 − 1 are minor units", () => {
  for (const value of [0, 1, MAX_MINOR]) expect(isMinor(value)).toBe(true);
  for (const value of [-1, 0.5, NaN, Infinity, 2 ** 53, "1", null])
    expect(isMinor(value)).toBe(false);
});
