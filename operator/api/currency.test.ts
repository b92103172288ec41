import { expect, test } from "vitest";
import { definitionOf } from "./definition.ts";
import { auctionWith } from "./auction-cases.ts";
import { digitsOf, minorUnitDigitsOf } from "./currency.ts";
import { validateAuction } from "./validate-auction.ts";

test.each([
  ["EUR", 2],
  ["JPY", 0],
  ["KWD", 3],
  ["CLF", 4],
  ["HUF", 2],
  ["QQQ", null],
  ["EU", null],
])("digitsOf(%s) is %s", (currency, digits) => {
  expect(digitsOf(currency)).toBe(digits);
});

test("digitsOf() knows each currency that Intl knows, but for two units of account that ISO 4217 gives no digits", () => {
  const unknown = Intl.supportedValuesOf("currency").filter((code) => digitsOf(code) === null);
  expect(unknown).toEqual(["XDR", "XSU"]);
});

test("minorUnitDigitsOf() keeps the digits that an earlier version stored", () => {
  expect(minorUnitDigitsOf({ currency: "JPY", minorUnitDigits: 2 })).toBe(2);
});

test.each([
  [{ currency: "JPY" }, 0],
  [{ currency: "EUR" }, 2],
  [{ currency: "KWD" }, 3],
  [{ currency: "QQQ", minorUnitDigits: 1 }, 1],
])("the definition of an Auction with %j has %i digits", (money, digits) => {
  const validation = validateAuction(auctionWith(money));
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  expect(definitionOf(validation.auction, "uid-1", new Map()).minorUnitDigits).toBe(digits);
});
