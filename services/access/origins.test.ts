import fc from "fast-check";
import { expect, test } from "vitest";
import { readOrigins } from "./origins.ts";
import { ORIGIN_PATTERN } from "./url-patterns.ts";

const silent = { warn: () => {} };

test.each([
  ["", []],
  ["https://a.example", ["https://a.example"]],
  ["https://Shop.Example:443, http://LOCALHOST:80", ["https://shop.example", "http://localhost"]],
  ["http://a.example:443 https://a.example:80", ["http://a.example:443", "https://a.example:80"]],
  ["https://xn--a", ["https://xn--a"]],
  ["https://bücher.example", ["https://xn--bcher-kva.example"]],
  ["http://sale.2026-sales:8080", ["http://sale.2026-sales:8080"]],
  ["https://[FD00:0::1]:443,http://[::1]:3000", ["https://[fd00::1]", "http://[::1]:3000"]],
])("readOrigins(%j) is what browsers send", (text, origins) => {
  const warnings: unknown[] = [];
  const log = { warn: (fields: unknown) => void warnings.push(fields) };
  expect([...readOrigins(text, log)!]).toEqual(origins);
  expect(warnings).toEqual([]);
});

test("readOrigins() gives null for all", () => {
  expect(readOrigins("*", silent)).toBeNull();
});

test.each([
  "https://*.example.com",
  "https://*",
  "null",
  "example.com",
  "https://a.example/path",
  "https://a.example?b",
  "https://user@a.example",
  "https://a.example:99999",
  "https://1.2.3.4.5",
  "ftp://a.example",
])("readOrigins() skips %s with a warning: the process starts", (text) => {
  const warnings: unknown[] = [];
  const log = { warn: (fields: unknown) => void warnings.push(fields) };
  const origins = readOrigins(`https://b.example, ${text}`, log);
  expect([...origins!]).toEqual(["https://b.example"]);
  expect(warnings).toEqual([{ origin: text }]);
});

test.each([
  ["http://sale.2026-sales:8080", true],
  ["http://sale.2026-01", true],
  ["http://sale.2026a", true],
  ["http://sale.2026", false],
  ["http://sale.0x1f", false],
  ["http://sale.2026-", false],
  ["https://*.shop.com", false],
  ["https://bücher.example", false],
])("the schema of an Auction: is %s an origin? %s", (text, is) => {
  expect(new RegExp(ORIGIN_PATTERN).test(text)).toBe(is);
});

test("any text that the schema of an Auction takes is an origin", () => {
  fc.assert(
    fc.property(fc.stringMatching(new RegExp(ORIGIN_PATTERN)), (text) => {
      const [origin] = readOrigins(text, silent)!;
      expect(new URL(text).origin).toBe(origin);
      expect([...readOrigins(origin!, silent)!]).toEqual([origin]);
    }),
    { numRuns: 300 },
  );
});
