import { expect, test } from "vitest";
import { textFrame } from "./frames.ts";

test("a text frame tells its length in the fewest bytes, as RFC 6455 demands", () => {
  const cases: [length: number, header: string][] = [
    [0, "8100"],
    [125, "817d"],
    [126, "817e007e"],
    [65_535, "817effff"],
    [65_536, "817f0000000000010000"],
  ];
  for (const [length, header] of cases) {
    const frame = textFrame("x".repeat(length));
    expect(frame.subarray(0, header.length / 2).toString("hex")).toBe(header);
    expect(frame.subarray(header.length / 2).toString()).toBe("x".repeat(length));
  }
});

test("the length is that of the bytes, not of the characters", () => {
  expect(textFrame("€").toString("hex")).toBe("8103e282ac");
});
