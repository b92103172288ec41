/**
 * What an Auction's schema cannot say about one field alone. Each rule is written twice, side by
 * side: as CEL, which the API server evaluates, and as its TypeScript twin, which one machine does.
 * The same cases run on both.
 */
import { MAX_MINOR } from "../../services/lot/money.ts";
import { CLUSTER_RULES } from "./cluster-rules.ts";
import { digitsCel, digitsOf } from "./currency.ts";
import { durationMs } from "./duration.ts";
import { instantMs } from "./instant.ts";
import type { Rule } from "./rule.ts";

const HOUR_MS = 3_600_000;
const MAX_LENGTH_MS = 2160 * HOUR_MS;
/** How many bids, each one step higher, must fit between maxAmountMinor and 2^53 - 1. */
const STEPS_ABOVE_MAX = 1_000;

const TERMS_RULES: readonly Rule[] = [
  {
    path: "spec",
    field: "minorUnitDigits",
    reads: ["currency", "minorUnitDigits"],
    optionalOldSelf: true,
    rule:
      `!has(self.minorUnitDigits) || self.minorUnitDigits == (${digitsCel("self.currency", "self.minorUnitDigits")})` +
      " || (oldSelf.?currency.orValue('') == self.currency && oldSelf.?minorUnitDigits.orValue(-1) == self.minorUnitDigits)",
    message: "minorUnitDigits must be those of the currency (ISO 4217: 2 for EUR, 0 for JPY)",
    holds: ({ currency, minorUnitDigits }) =>
      minorUnitDigits === undefined || minorUnitDigits === (digitsOf(currency) ?? minorUnitDigits),
  },
  {
    path: "spec",
    field: "minorUnitDigits",
    reads: ["currency", "minorUnitDigits"],
    rule: `has(self.minorUnitDigits) || !self.currency.matches('^[A-Z]{3}$') || (${digitsCel("self.currency", "-1")}) >= 0`,
    message: "minorUnitDigits is required: ISO 4217 has no digits for this currency",
    holds: ({ currency, minorUnitDigits }) =>
      minorUnitDigits !== undefined || digitsOf(currency) !== null,
  },
  {
    path: "spec.schedule",
    rule: "has(self.closesAt) != has(self.lasts)",
    message: "set exactly one of closesAt and lasts",
    holds: ({ closesAt, lasts }) => (closesAt === undefined) !== (lasts === undefined),
  },
  {
    path: "spec.schedule",
    field: "closesAt",
    reads: ["opensAt", "closesAt"],
    rule: "!has(self.opensAt) || !has(self.closesAt) || self.closesAt > self.opensAt",
    message: "closesAt must be after opensAt",
    holds: ({ opensAt, closesAt }) =>
      opensAt === undefined || closesAt === undefined || instantMs(closesAt) > instantMs(opensAt),
  },
  {
    path: "spec.schedule",
    field: "closesAt",
    reads: ["opensAt", "closesAt"],
    rule: "!has(self.opensAt) || !has(self.closesAt) || self.closesAt - self.opensAt <= duration('2160h')",
    message: "an auction may last at most 90 days (2160h)",
    holds: ({ opensAt, closesAt }) =>
      opensAt === undefined ||
      closesAt === undefined ||
      instantMs(closesAt) - instantMs(opensAt) <= MAX_LENGTH_MS,
  },
  {
    path: "spec.schedule",
    field: "lasts",
    reads: ["lasts"],
    rule: "!has(self.lasts) || (self.lasts >= duration('1s') && self.lasts <= duration('2160h'))",
    message: "lasts must be between 1s and 90 days (2160h)",
    holds: ({ lasts }) =>
      lasts === undefined || (durationMs(lasts) >= 1_000 && durationMs(lasts) <= MAX_LENGTH_MS),
  },
  {
    path: "spec.schedule",
    field: "lotStagger",
    reads: ["lotStagger"],
    rule: "self.lotStagger <= duration('1h')",
    message: "lotStagger may be at most 1h",
    holds: ({ lotStagger }) => durationMs(lotStagger) <= HOUR_MS,
  },
  {
    path: "spec.rules.increments",
    rule: "self[0].fromMinor == 0",
    message: "the first increment band must begin at fromMinor 0",
    holds: ([first]) => first?.fromMinor === 0,
  },
  {
    path: "spec.rules.increments",
    rule: "self.map(b, b.fromMinor).isSorted()",
    message: "increment bands must be sorted by fromMinor",
    holds: (bands) =>
      bands.every((band, i) => i === 0 || band.fromMinor >= bands[i - 1]!.fromMinor),
  },
  {
    path: "spec.rules.antiSniping",
    field: "window",
    reads: ["window"],
    rule: "self.window <= duration('1h')",
    message: "window may be at most 1h",
    holds: ({ window }) => durationMs(window) <= HOUR_MS,
  },
  {
    path: "spec.rules.antiSniping",
    field: "extension",
    reads: ["extension"],
    rule: "self.extension <= duration('1h')",
    message: "extension may be at most 1h",
    holds: ({ extension }) => durationMs(extension) <= HOUR_MS,
  },
  {
    path: "spec.rules.antiSniping",
    field: "extension",
    reads: ["window", "extension"],
    rule: "self.window == duration('0s') || self.extension >= duration('1s')",
    message: "extension must be at least 1s while window is not 0s",
    holds: ({ window, extension }) => durationMs(window) === 0 || durationMs(extension) >= 1_000,
  },
  {
    path: "spec.lots[]",
    field: "reserveFrom",
    rule: "!(has(self.reserveMinor) && has(self.reserveFrom))",
    message: "set reserveMinor or reserveFrom, not both",
    holds: ({ reserveMinor, reserveFrom }) =>
      reserveMinor === undefined || reserveFrom === undefined,
  },
  {
    path: "spec.lots[]",
    field: "reserveMinor",
    reads: ["startMinor", "reserveMinor"],
    rule: "!has(self.reserveMinor) || self.reserveMinor >= self.startMinor",
    message: "reserveMinor must not be below startMinor",
    holds: ({ reserveMinor, startMinor }) =>
      reserveMinor === undefined || reserveMinor >= startMinor,
  },
  {
    path: "spec",
    field: "withdrawnLots",
    reads: ["withdrawnLots", "lots"],
    rule: "!has(self.withdrawnLots) || self.withdrawnLots.all(w, self.lots.exists(l, l.id == w))",
    message: "withdrawnLots may only name lots of this auction",
    holds: ({ withdrawnLots = [], lots }) =>
      withdrawnLots.every((id) => lots.some((lot) => lot.id === id)),
  },
  {
    path: "spec",
    field: "lots",
    reads: ["lots", "rules"],
    rule: "self.lots.all(l, !has(l.reserveMinor) || l.reserveMinor <= self.rules.maxAmountMinor)",
    message: "no reserveMinor may be above rules.maxAmountMinor: the lot could not be sold",
    holds: ({ lots, rules }) =>
      lots.every(({ reserveMinor = 0 }) => reserveMinor <= rules.maxAmountMinor),
  },
  {
    path: "spec",
    field: "lots",
    reads: ["lots", "rules"],
    rule: "self.lots.all(l, l.startMinor <= self.rules.maxAmountMinor)",
    message: "no startMinor may be above rules.maxAmountMinor: nobody could bid",
    holds: ({ lots, rules }) => lots.every((lot) => lot.startMinor <= rules.maxAmountMinor),
  },
  {
    path: "spec",
    field: "rules.increments",
    reads: ["rules"],
    rule: `self.rules.increments.all(b, b.stepMinor <= (9007199254740991 - self.rules.maxAmountMinor) / ${STEPS_ABOVE_MAX})`,
    message: `maxAmountMinor and ${STEPS_ABOVE_MAX} times a stepMinor together may be at most 2^53 - 1: bids must be able to go on above maxAmountMinor`,
    holds: ({ rules }) =>
      rules.increments.every(
        ({ stepMinor }) => stepMinor <= (MAX_MINOR - rules.maxAmountMinor) / STEPS_ABOVE_MAX,
      ),
  },
];

/** All rules for a single Auction. Rules for changes are in change-rules.ts. */
export const AUCTION_RULES: readonly Rule[] = [...TERMS_RULES, ...CLUSTER_RULES];
