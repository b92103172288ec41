import { expect, test } from "vitest";
import { auctionWith } from "./auction-cases.ts";
import type { AuctionResource } from "./auction-resource.ts";
import { definitionOf } from "./definition.ts";
import { validateAuction } from "./validate-auction.ts";

function auction(spec: Record<string, unknown>): AuctionResource {
  const validation = validateAuction(auctionWith(spec, "spring"));
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return validation.auction;
}

test("definitionOf() counts everything in minor units and ms", () => {
  const definition = definitionOf(
    auction({
      title: "Spring",
      schedule: { opensAt: "2026-12-01T18:00:00+01:00", lasts: "30m", lotStagger: "1m" },
      lots: [
        { id: "a", title: "A lot", startMinor: 100, reserveMinor: 500 },
        { id: "b", startMinor: 0 },
      ],
      withdrawnLots: ["b"],
    }),
    "uid-1",
    new Map(),
  );
  expect(definition).toEqual({
    uid: "uid-1",
    name: "spring",
    title: "Spring",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: Date.UTC(2026, 11, 1, 17),
    rules: {
      increments: [{ fromMinor: 0, stepMinor: 100 }],
      antiSniping: { windowMs: 120_000, extensionMs: 120_000, maxExtensions: 50 },
      maxAmountMinor: 1e12,
      reserveDisclosure: "MetOnly",
    },
    suspended: false,
    lots: [
      {
        lotId: "a",
        title: "A lot",
        startMinor: 100,
        reserveMinor: 500,
        closesAtMs: null,
        lastsMs: 1_800_000,
        withdrawn: false,
      },
      {
        lotId: "b",
        title: "b",
        startMinor: 0,
        reserveMinor: null,
        closesAtMs: null,
        lastsMs: 1_860_000,
        withdrawn: true,
      },
    ],
  });
});

test("definitionOf() staggers absolute closes, and takes the auction's name for want of a title", () => {
  const definition = definitionOf(
    auction({
      schedule: { closesAt: "2026-12-01T18:00:00Z", lotStagger: "30s" },
      lots: [
        { id: "a", startMinor: 1 },
        { id: "b", startMinor: 1 },
      ],
    }),
    "uid-1",
    new Map(),
  );
  const closesAtMs = Date.UTC(2026, 11, 1, 18);
  expect(definition.title).toBe("spring");
  expect(definition.opensAtMs).toBeNull();
  expect(definition.lots.map((lot) => [lot.closesAtMs, lot.lastsMs])).toEqual([
    [closesAtMs, null],
    [closesAtMs + 30_000, null],
  ]);
});

test("definitionOf() takes a confidential reserve from where it was read", () => {
  const lots = [{ id: "a", startMinor: 1, reserveFrom: { name: "reserves", key: "a" } }];
  const definition = definitionOf(auction({ lots }), "uid-1", new Map([["a", 777]]));
  expect(definition.lots[0]!.reserveMinor).toBe(777);
  expect(() => definitionOf(auction({ lots }), "uid-1", new Map())).toThrow("no reserve for a");
});
