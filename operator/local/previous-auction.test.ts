import { expect, test } from "vitest";
import { auctionWith } from "../api/auction-cases.ts";
import { definitionOf } from "../api/definition.ts";
import { validateAuction } from "../api/validate-auction.ts";
import { withKeptDigits } from "./previous-auction.ts";

function auctionIn(currency: string, minorUnitDigits?: number) {
  const spec = minorUnitDigits === undefined ? { currency } : { currency, minorUnitDigits };
  const validation = validateAuction(auctionWith(spec));
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return validation.auction;
}

const digits = (...given: Parameters<typeof withKeptDigits>) =>
  definitionOf(withKeptDigits(...given), "uid-1", new Map()).minorUnitDigits;

test("an auction keeps the digits that an earlier version gave its currency", () => {
  const yen = auctionIn("JPY");
  expect(digits(yen, "uid-1", null)).toBe(0); // The first run.
  const before = { ...definitionOf(yen, "uid-1", new Map()), minorUnitDigits: 2 };
  expect(digits(yen, "uid-1", before)).toBe(2);
  expect(digits(yen, "uid-2", before)).toBe(0); // A new auction.
  expect(digits(auctionIn("JPY", 0), "uid-1", before)).toBe(0); // Stated.
  expect(digits(auctionIn("KWD"), "uid-1", before)).toBe(3);
});
