import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { auctionWith } from "../api/auction-cases.ts";
import { definitionOf } from "../api/definition.ts";
import { validateAuction } from "../api/validate-auction.ts";
import { withKeptDigits } from "./previous-auction.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-digits-"));
afterAll(() => rmSync(dir, { recursive: true }));

function auctionIn(currency: string, minorUnitDigits?: number) {
  const spec = minorUnitDigits === undefined ? { currency } : { currency, minorUnitDigits };
  const validation = validateAuction(auctionWith(spec));
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return validation.auction;
}

const digits = (...given: Parameters<typeof withKeptDigits>) =>
  definitionOf(withKeptDigits(...given), "uid-1", new Map()).minorUnitDigits;

test("an auction goes on with the digits that an earlier version gave its currency", () => {
  const file = join(dir, "rules.json");
  const yen = auctionIn("JPY");
  expect(digits(yen, "uid-1", file)).toBe(0); // The first run.
  const before = { ...definitionOf(yen, "uid-1", new Map()), minorUnitDigits: 2 };
  writeFileSync(file, JSON.stringify(before));
  expect(digits(yen, "uid-1", file)).toBe(2);
  expect(digits(yen, "uid-2", file)).toBe(0); // A new auction.
  expect(digits(auctionIn("JPY", 0), "uid-1", file)).toBe(0); // Stated.
  expect(digits(auctionIn("KWD"), "uid-1", file)).toBe(3);
});
