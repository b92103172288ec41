import fc from "fast-check";
import { expect, test } from "vitest";
import { isExactAmount } from "./exact-amount.ts";

test.each([
  '{"amountMinor":5}',
  '{"amountMinor":1e2}',
  '{"amountMinor":100.0}',
  '{"amountMinor" : 1.5e1}',
  '{"amountMinor":10e-1}',
  '{"key":"a.5e","amountMinor":5}',
  '{"key":"\\"amountMinor\\":1.5","amountMinor":5.0}',
  '{"amountMinor":5.00000000000000001,"amountMinor":9}',
  '{"\\u0061mountMinor":9}',
  '{"x":{"amountMinor":9.00000000000000001},"amountMinor":9}',
  '{"x":1.5,"amountMinor":9}',
])("isExactAmount() takes %s", (text) => {
  expect(isExactAmount(text)).toBe(true);
});

test.each([
  '{"amountMinor":1000.00000000000000001}',
  '{"amountMinor":10000000000000000000001e-19}',
  '{"amountMinor":5,"amountMinor":9.00000000000000001}',
  '{"amountMinor":5,"\\u0061mountMinor":9.00000000000000001}',
  '{"\\u0061mountMinor":9.00000000000000001}',
  '{"\\u0061mountMinor":9.00000000000000001,"x":{"amountMinor":9}}',
  '{"key":"\\"amountMinor\\":1","\\u0061mountMinor":9.00000000000000001}',
  '{"\\u0061mountMinor":9.00000000000000001,"key":"\\"amountMinor\\":1"}',
  '{"\\u0061mountMinor":9.00000000000000001,"x":"\\\\","y":[{"amountMinor":1}]}',
])("isExactAmount() refuses %s", (text) => {
  expect(isExactAmount(text)).toBe(false);
});

test("isExactAmount() judges the text that JSON.parse takes, whatever else is in the object", () => {
  const name = fc.constantFrom("amountMinor", "\\u0061mountMinor", "amount\\u004dinor", "x", '\\"');
  const number = fc.constantFrom(
    "7",
    "7.0",
    "7.00000000000000001",
    "70e-1",
    "70000000000000000001e-19",
  );
  const anyText = fc.string({ unit: "binary" }).map((text) => JSON.stringify(text));
  const value = fc.oneof(number, anyText, fc.json({ maxDepth: 2 }));
  const objects = fc.array(fc.tuple(name, value), { maxLength: 6 }).map((members) => {
    return `{${members.map(([key, text]) => `"${key}" : ${text}`).join(",")}}`;
  });
  fc.assert(
    fc.property(objects, (text) => {
      const sources = new Map<unknown, string | undefined>();
      const parsed = JSON.parse(
        text,
        function (this: unknown, key, given: unknown, context?: { source?: string }) {
          if (key === "amountMinor") sources.set(this, context?.source);
          return given;
        },
      ) as { amountMinor?: unknown };
      if (parsed.amountMinor !== 7) return;
      const source = sources.get(parsed);
      expect(isExactAmount(text)).toBe(source === "7" || source === "7.0" || source === "70e-1");
    }),
    { numRuns: 100 },
  );
});

test("isExactAmount() reads a body that is nested as deeply as its length allows", () => {
  const depth = 8_000;
  const text = `{"x":${"[".repeat(depth)}${"]".repeat(depth)},"amountMinor":1.0}`;
  expect(isExactAmount(text)).toBe(true);
});
