import fc from "fast-check";
import { expect, test } from "vitest";
import { readOrigins } from "./origins.ts";
import { ORIGIN_PATTERN } from "./url-patterns.ts";

test.each([
  ["", []],
  ["https://a.example", ["https://a.example"]],
  ["https://Shop.Example:443, http://LOCALHOST:80", ["https://shop.example", "http://localhost"]],
  ["http://a.example:443 https://a.example:80", ["http://a.example:443", "https://a.example:80"]],
  ["https://xn--a", ["https://xn--a"]],
  ["https://[FD00:0::1]:443,http://[::1]:3000", ["https://[fd00::1]", "http://[::1]:3000"]],
])("readOrigins(%j) is what browsers send", (text, origins) => {
  expect([...readOrigins(text)!]).toEqual(origins);
});

test("readOrigins() gives null for all", () => {
  expect(readOrigins("*")).toBeNull();
});

test.each([
  "https://*.example.com",
  "https://*",
  "null",
  "example.com",
  "https://a.example/",
  "https://a.example/path",
  "https://a.example?b",
  "https://user@a.example",
  "https://a.example:99999",
  "https://1.2.3",
  "ftp://a.example",
])("readOrigins() refuses %s", (text) => {
  expect(() => readOrigins(`https://b.example, ${text}`)).toThrow(`${text} is not an origin`);
});

test("any text that the schema of an Auction takes is an origin", () => {
  fc.assert(
    fc.property(fc.stringMatching(new RegExp(ORIGIN_PATTERN)), (text) => {
      const [origin] = readOrigins(text)!;
      expect(new URL(text).origin).toBe(origin);
      expect([...readOrigins(origin!)!]).toEqual([origin]);
    }),
    { numRuns: 300 },
  );
});
