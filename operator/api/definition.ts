/** Translates an Auction into the definition that the store holds. Pure: equal Auctions give equal definitions. */
import { DEFAULT_MAX_JUMP } from "../../services/lot/terms.ts";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import type { AuctionLot, AuctionResource } from "./auction-resource.ts";
import { minorUnitDigitsOf } from "./currency.ts";
import { durationMs } from "./duration.ts";
import { optionalInstantMs } from "./instant.ts";

/**
 * @param reserves amounts of the lots that have a `reserveFrom`, by lot id
 * @param generation the Auction's `metadata.generation`; `make up` has none
 * @throws Error if such an amount is missing: the caller reads and checks the Secrets first
 */
export function definitionOf(
  auction: AuctionResource,
  uid: string,
  reserves: ReadonlyMap<string, number>,
  generation = 0,
): AuctionDefinition {
  const { metadata, spec } = auction;
  const { schedule, rules, lots } = spec;
  const staggerMs = durationMs(schedule.lotStagger);
  const closesAtMs = optionalInstantMs(schedule.closesAt);
  const lastsMs = schedule.lasts === undefined ? null : durationMs(schedule.lasts);
  const forLot = (ms: number | null, i: number) => (ms === null ? null : ms + i * staggerMs);

  return {
    uid,
    generation,
    name: metadata.name,
    title: spec.title ?? metadata.name,
    currency: spec.currency,
    minorUnitDigits: minorUnitDigitsOf(spec),
    opensAtMs: optionalInstantMs(schedule.opensAt),
    rules: {
      increments: rules.increments.map(({ fromMinor, stepMinor }) => ({ fromMinor, stepMinor })),
      antiSniping: {
        windowMs: durationMs(rules.antiSniping.window),
        extensionMs: durationMs(rules.antiSniping.extension),
        maxExtensions: rules.antiSniping.maxExtensions,
      },
      maxAmountMinor: rules.maxAmountMinor,
      maxJump: rules.maxJump,
      reserveDisclosure: rules.reserveDisclosure,
    },
    suspended: spec.suspended,
    lots: lots.map((lot, i) => ({
      lotId: lot.id,
      title: lot.title ?? lot.id,
      startMinor: lot.startMinor,
      reserveMinor: reserveOf(lot, reserves),
      closesAtMs: forLot(closesAtMs, i),
      lastsMs: forLot(lastsMs, i),
      withdrawn: spec.withdrawnLots?.includes(lot.id) ?? false,
    })),
  };
}

/**
 * A definition as it is sent to archival. An earlier version of archival, kept by a rollout hold, does not know `maxJump`
 * and would take it for a change of the frozen rules: the default is omitted, and archival of this version fills it in.
 */
export function sentDefinition(definition: AuctionDefinition): object {
  const { maxJump, ...rules } = definition.rules;
  return maxJump === DEFAULT_MAX_JUMP ? { ...definition, rules } : definition;
}

function reserveOf(lot: AuctionLot, reserves: ReadonlyMap<string, number>): number | null {
  if (lot.reserveFrom === undefined) return lot.reserveMinor ?? null;
  const reserveMinor = reserves.get(lot.id);
  if (reserveMinor === undefined) throw new Error(`no reserve for ${lot.id}`);
  return reserveMinor;
}
