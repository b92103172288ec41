import { expect, test } from "vitest";
import { canonicalHash } from "./canonical-hash.ts";

test("the order of fields does not change the hash; the order of a list and any value do", () => {
  const hash = canonicalHash({ a: 1, b: { c: [1, 2], d: null } });
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(canonicalHash({ b: { d: null, c: [1, 2] }, a: 1 })).toBe(hash);
  expect(canonicalHash({ a: 1, b: { c: [2, 1], d: null } })).not.toBe(hash);
  expect(canonicalHash({ a: "1", b: { c: [1, 2], d: null } })).not.toBe(hash);
});
