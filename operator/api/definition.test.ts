import fc from "fast-check";
import { expect, test } from "vitest";
import { parseDefinition } from "../../services/archival/definition/rules-file.ts";
import { auctionWith } from "./auction-cases.ts";
import type { AuctionResource } from "./auction-resource.ts";
import { definitionOf, sentDefinition } from "./definition.ts";
import { ORIGIN_PATTERN, URL_PATTERN } from "../../services/access/url-patterns.ts";
import { instantMs } from "./instant.ts";
import { SCHEDULES } from "../testing/schedules.ts";
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
    generation: 0,
    name: "spring",
    title: "Spring",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: Date.UTC(2026, 11, 1, 17),
    rules: {
      increments: [{ fromMinor: 0, stepMinor: 100 }],
      antiSniping: { windowMs: 120_000, extensionMs: 120_000, maxExtensions: 50 },
      maxAmountMinor: 1e12,
      maxJump: 1_000,
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

test("any Auction that is valid has a definition that archival takes", () => {
  let valid = 0;
  fc.assert(
    fc.property(SCHEDULES, (schedule) => {
      const lots = Array.from({ length: 3 }, (_, i) => ({ id: `l${i}`, startMinor: i }));
      const validation = validateAuction(auctionWith({ schedule, lots }));
      if (!validation.ok) return;
      valid += 1;
      const definition = definitionOf(validation.auction, "uid-1", new Map());
      // Through JSON, as it is sent: JSON has no NaN.
      const sent: unknown = JSON.parse(JSON.stringify(sentDefinition(definition)));
      expect(parseDefinition(sent, "the test", "uid-1")).toEqual(definition);
      expect(definition.opensAtMs === null).toBe(schedule.opensAt === undefined);
      const closes = definition.lots
        .map(({ closesAtMs }) => closesAtMs)
        .filter((ms) => ms !== null);
      for (const ms of closes) expect(new Date(ms).toISOString()).toMatch(/^[23]/);
    }),
    { numRuns: 1_000 },
  );
  expect(valid).toBeGreaterThan(10);
});

test.each([URL_PATTERN, ORIGIN_PATTERN])("any text that matches %s can be parsed", (pattern) => {
  const hosts = fc.stringMatching(new RegExp(pattern));
  const look = fc
    .tuple(
      fc.constantFrom("http://", "https://"),
      fc.array(fc.constantFrom("1", "0", "256", "08", "0x1f", "a", "-", ".", ":", "::", "[", "]")),
      fc.constantFrom("", ":1", ":65535", ":65536", "/%zz", "?a"),
    )
    .map(([scheme, host, rest]) => scheme + host.join("") + rest);
  fc.assert(
    fc.property(fc.oneof(hosts, look), (text) => {
      if (new RegExp(pattern).test(text)) expect(URL.canParse(text), text).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ["2026-12-24T18:00:00.123456Z", "2026-12-24T18:00:00.123Z"],
  ["2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00.000Z"],
])("instantMs() reads %s, as an earlier version stored it", (text, instant) => {
  expect(new Date(instantMs(text)).toISOString()).toBe(instant);
});

test("instantMs() never gives NaN", () => {
  expect(() => instantMs("2026-12-24T18:00:00+01:00[Europe/Berlin]")).toThrow("not an instant");
});
