/**
 * Auctions that must be refused, each with the path and the message that it must fail with, and
 * some that must not. The TypeScript twins run them here; an API server runs the same on the CRD.
 */
import type { AuctionLot } from "./auction-resource.ts";

export interface Complaint {
  readonly path: string;
  readonly message: RegExp;
}

export interface Case {
  readonly name: string;
  readonly auction: unknown;
  /** Empty: it is accepted. */
  readonly problems: readonly (Complaint & {
    /** How an API server says it, where it is the schema's and not a rule's: in other words. */
    readonly server?: Partial<Complaint>;
  })[];
}

const OPENS = "2026-12-01T18:00:00Z";
const CLOSES = "2026-12-01T20:00:00Z";

/** The smallest Auction, with parts of its spec replaced. */
export function auctionWith(spec: Record<string, unknown> = {}, name = "n1"): unknown {
  return {
    apiVersion: "gavel.dev/v1alpha1",
    kind: "Auction",
    metadata: { name, namespace: "default" },
    spec: {
      currency: "EUR",
      schedule: { opensAt: OPENS, closesAt: CLOSES },
      lots: [{ id: "a", startMinor: 1 }],
      ...spec,
    },
  };
}

const withLots = (...lots: unknown[]) => auctionWith({ lots });
const withSchedule = (schedule: unknown) => auctionWith({ schedule });
const withRules = (rules: unknown) => auctionWith({ rules });
const lots = (count: number): AuctionLot[] =>
  Array.from({ length: count }, (_, i) => ({ id: `l${i}`, startMinor: 1 }));

export function refused(
  name: string,
  auction: unknown,
  path: string,
  message: RegExp,
  server: Partial<Complaint> = {},
): Case {
  return { name, auction, problems: [{ path, message, server }] };
}

/** What an API server says of a single field. */
export const SERVER = {
  pattern: { message: /should match/ },
  instant: { message: /must be of type date-time/ },
  least: { message: /should be greater than or equal to/ },
  most: { message: /should be less than or equal to/ },
  choice: { message: /Unsupported value/ },
  twice: { message: /Duplicate value/ },
  unknown: { message: /strict decoding error: unknown field/ },
  required: { message: /Required value/ },
} as const;

export function accepted(name: string, auction: unknown): Case {
  return { name, auction, problems: [] };
}

export const CASES: readonly Case[] = [
  accepted("the smallest Auction", auctionWith()),
  accepted("200 lots", withLots(...lots(200))),
  accepted("no opening, a length", withSchedule({ lasts: "30m" })),
  accepted("an opening and a length", withSchedule({ opensAt: OPENS, lasts: "1h30m" })),
  accepted("anti-sniping off", withRules({ antiSniping: { window: "0s", extension: "0s" } })),
  accepted("a withdrawn lot", auctionWith({ withdrawnLots: ["a"] })),
  accepted("a start of nothing", withLots({ id: "a", startMinor: 0 })),

  refused("a name of 45 characters", auctionWith({}, "a".repeat(45)), "metadata.name", /40/),
  refused(
    "a name that begins with a digit",
    auctionWith({}, "2026-sale"),
    "metadata.name",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "a name with a dot",
    auctionWith({}, "a.b"),
    "metadata.name",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "no spec",
    { ...(auctionWith() as object), spec: undefined },
    "spec",
    /required|object/,
    SERVER.required,
  ),
  refused(
    "another version",
    { ...(auctionWith() as object), apiVersion: "gavel.dev/v1" },
    "apiVersion",
    /gavel.dev\/v1alpha1/,
    { path: "", message: /in version "v1" cannot be handled/ },
  ),

  refused(
    "closes before it opens",
    withSchedule({ opensAt: "2026-12-02T18:00:00Z", closesAt: CLOSES }),
    "spec.schedule.closesAt",
    /after opensAt/,
  ),
  refused(
    "half a year long",
    withSchedule({ opensAt: OPENS, closesAt: "2027-06-01T18:00:00Z" }),
    "spec.schedule.closesAt",
    /90 days/,
  ),
  refused(
    "both closesAt and lasts",
    withSchedule({ closesAt: CLOSES, lasts: "30m" }),
    "spec.schedule",
    /exactly one/,
  ),
  refused("neither closesAt nor lasts", withSchedule({}), "spec.schedule", /exactly one/),
  refused("no length at all", withSchedule({ lasts: "0s" }), "spec.schedule.lasts", /between 1s/),
  refused(
    "an instant without a zone",
    withSchedule({ opensAt: "2026-12-01T18:00:00", lasts: "30m" }),
    "spec.schedule.opensAt",
    /must be an instant/,
    SERVER.instant,
  ),
  refused(
    "the 30th of February",
    withSchedule({ closesAt: "2026-02-30T18:00:00Z" }),
    "spec.schedule.closesAt",
    /must be an instant/,
    SERVER.instant,
  ),
  refused(
    "a stagger of two hours",
    withSchedule({ lasts: "30m", lotStagger: "2h" }),
    "spec.schedule.lotStagger",
    /at most 1h/,
  ),

  refused(
    "a reserve below the start",
    withLots({ id: "a", startMinor: 10, reserveMinor: 5 }),
    "spec.lots[0].reserveMinor",
    /below startMinor/,
  ),
  refused(
    "a reserve in two places",
    withLots({ id: "a", startMinor: 1, reserveMinor: 5, reserveFrom: { name: "s", key: "k" } }),
    "spec.lots[0].reserveFrom",
    /not both/,
  ),
  refused(
    "one lot id twice",
    withLots({ id: "a", startMinor: 10 }, { id: "a", startMinor: 5 }),
    "spec.lots[1].id",
    /twice/,
    { ...SERVER.twice, path: "spec.lots[1]" },
  ),
  refused(
    "money beyond 2^53 - 1",
    withLots({ id: "a", startMinor: Number("9007199254740993") }),
    "spec.lots[0].startMinor",
    /<= 9007199254740991/,
    SERVER.most,
  ),
  refused(
    "money with a fraction",
    withLots({ id: "a", startMinor: 1.5 }),
    "spec.lots[0].startMinor",
    /integer/,
  ),
  refused(
    "money as text",
    withLots({ id: "a", startMinor: "100" }),
    "spec.lots[0].startMinor",
    /integer/,
  ),
  refused(
    "money below zero",
    withLots({ id: "a", startMinor: -1 }),
    "spec.lots[0].startMinor",
    />= 0/,
    SERVER.least,
  ),
  refused(
    "a start that nobody may bid",
    withLots({ id: "a", startMinor: 2_000_000_000_000 }),
    "spec.lots",
    /maxAmountMinor/,
  ),
  refused(
    "a reserve that nobody may bid",
    withLots({ id: "a", startMinor: 1, reserveMinor: 2_000_000_000_000 }),
    "spec.lots",
    /maxAmountMinor/,
  ),
  refused(
    "a step and a largest amount after which a few bids end at the largest exact number",
    withRules({ increments: [{ fromMinor: 0, stepMinor: 9_007_000_000_000 }] }),
    "spec.rules.increments",
    /2\^53/,
  ),
  refused(
    "a jump of nothing",
    withRules({ maxJump: 1 }),
    "spec.rules.maxJump",
    />= 2/,
    SERVER.least,
  ),
  refused(
    "a lot id with a space",
    withLots({ id: "oak table", startMinor: 1 }),
    "spec.lots[0].id",
    /must match/,
    SERVER.pattern,
  ),
  refused("no lots", withLots(), "spec.lots", /fewer than 1/, { message: /at least 1 items/ }),
  refused("201 lots", withLots(...lots(201)), "spec.lots", /more than 200/, {
    message: /at most 200 items/,
  }),
  refused(
    "an unknown lot withdrawn",
    auctionWith({ withdrawnLots: ["zzz"] }),
    "spec.withdrawnLots",
    /only name lots/,
  ),
  refused(
    "a lot withdrawn twice",
    auctionWith({ withdrawnLots: ["a", "a"] }),
    "spec.withdrawnLots[1]",
    /twice/,
    SERVER.twice,
  ),

  refused(
    "increments out of order",
    withRules({
      increments: [
        { fromMinor: 0, stepMinor: 1 },
        { fromMinor: 50, stepMinor: 5 },
        { fromMinor: 10, stepMinor: 2 },
      ],
    }),
    "spec.rules.increments",
    /sorted/,
  ),
  refused(
    "increments not from 0",
    withRules({ increments: [{ fromMinor: 5, stepMinor: 1 }] }),
    "spec.rules.increments",
    /begin at fromMinor 0/,
  ),
  refused(
    "a step of nothing",
    withRules({ increments: [{ fromMinor: 0, stepMinor: 0 }] }),
    "spec.rules.increments[0].stepMinor",
    />= 1/,
    SERVER.least,
  ),
  refused(
    "an anti-sniping window of two hours",
    withRules({ antiSniping: { window: "2h" } }),
    "spec.rules.antiSniping.window",
    /at most 1h/,
  ),
  refused(
    "an anti-sniping that extends by two hours",
    withRules({ antiSniping: { extension: "2h" } }),
    "spec.rules.antiSniping.extension",
    /at most 1h/,
  ),
  refused(
    "an anti-sniping that extends by nothing",
    withRules({ antiSniping: { window: "2m", extension: "0s" } }),
    "spec.rules.antiSniping.extension",
    /at least 1s/,
  ),
  refused(
    "a duration in words",
    withRules({ antiSniping: { window: "2 minutes" } }),
    "spec.rules.antiSniping.window",
    /like 30s, 2m or 1h30m/,
    SERVER.pattern,
  ),
  refused(
    "a disclosure of its own",
    withRules({ reserveDisclosure: "Loudly" }),
    "spec.rules.reserveDisclosure",
    /Hidden or MetOnly or Public/,
    SERVER.choice,
  ),
  refused(
    "an unknown field",
    auctionWith({ bogus: 1 }),
    "spec.bogus",
    /not a field/,
    SERVER.unknown,
  ),
  refused(
    "a field of a lot that the schema does not have",
    withLots({ id: "a", startMinor: 1, startAmount: 5 }),
    "spec.lots[0].startAmount",
    /not a field/,
    SERVER.unknown,
  ),
  refused(
    "a field that nothing obeys yet",
    withLots({ id: "a", startMinor: 10, reserveMinor: 50, buyNowMinor: 40 }),
    "spec.lots[0].buyNowMinor",
    /not a field/,
    SERVER.unknown,
  ),
  refused(
    "a lower-case currency",
    auctionWith({ currency: "eur" }),
    "spec.currency",
    /must match \^\[A-Z\]/,
    SERVER.pattern,
  ),
];
