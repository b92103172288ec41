import { expect, test } from "vitest";
import { auctionWith, CASES } from "./auction-cases.ts";
import { CLUSTER_CASES } from "./cluster-cases.ts";
import { CONVERSION_CASES } from "./conversion-cases.ts";
import { validateAuction } from "./validate-auction.ts";

for (const { name, auction, problems } of [...CASES, ...CLUSTER_CASES, ...CONVERSION_CASES]) {
  test(`validateAuction() ${problems.length === 0 ? "accepts" : "refuses"}: ${name}`, () => {
    const validation = validateAuction(auction);
    expect(validation.ok ? [] : validation.problems).toEqual(
      problems.map(({ path, message }) => ({ path, message: expect.stringMatching(message) })),
    );
  });
}

test("validateAuction() fills in the defaults", () => {
  const validation = validateAuction(CASES[0]!.auction);
  expect(validation).toMatchObject({
    ok: true,
    auction: {
      spec: {
        schedule: { lotStagger: "0s" },
        rules: {
          increments: [{ fromMinor: 0, stepMinor: 100 }],
          antiSniping: { window: "2m", extension: "2m", maxExtensions: 50 },
          maxAmountMinor: 1e12,
          maxJump: 1_000,
          reserveDisclosure: "MetOnly",
        },
      },
    },
  });
});

test("validateAuction() leaves what it was given as it was", () => {
  const given = structuredClone(CASES[0]!.auction);
  validateAuction(given);
  expect(given).toEqual(CASES[0]!.auction);
});

test("validateAuction() gives each place of a YAML alias its own defaults", () => {
  const external = { mode: "External", external: { secretRef: { name: "s" } } };
  const validation = validateAuction(auctionWith({ backing: { redis: external, nats: external } }));
  expect(validation).toMatchObject({
    ok: true,
    auction: { spec: { backing: { redis: { durability: "Disk" }, nats: external } } },
  });
});

test.each([null, undefined, 5, "auction", [], {}])("validateAuction() refuses %j", (input) => {
  expect(validateAuction(input).ok).toBe(false);
});
