import type { Rules } from "../lot/terms.ts";
import { canonicalHash } from "../runtime/canonical-hash.ts";
import type { Store } from "./connect.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** All that is fixed about an auction before it opens: what a rules file holds. */
export interface AuctionDefinition {
  readonly uid: string;
  readonly name: string;
  readonly title: string;
  readonly currency: string;
  readonly minorUnitDigits: number;
  /** Null: it opens when `openAuction` is called. */
  readonly opensAtMs: number | null;
  readonly rules: Rules;
  /** No bids for a while, and nothing opens or closes; may change until the auction is fenced. */
  readonly suspended: boolean;
  readonly lots: readonly LotDefinition[];
}

export interface LotDefinition {
  readonly lotId: string;
  readonly title: string;
  readonly startMinor: number;
  readonly reserveMinor: number | null;
  /** Exactly one of the two: an instant, or how long after the opening. */
  readonly closesAtMs: number | null;
  readonly lastsMs: number | null;
  readonly withdrawn: boolean;
}

/** Changes with anything in the definition: equal hashes mean that the store has these rules. */
export function rulesHashOf(definition: AuctionDefinition): string {
  return hashOf(definition);
}

/** Changes only with what is frozen once the auction is open: all but withdrawals, closes and `suspended`. */
function termsHashOf(definition: AuctionDefinition): string {
  const lots = definition.lots.map(({ lotId, title, startMinor, reserveMinor }) => {
    return { lotId, title, startMinor, reserveMinor };
  });
  const { currency, minorUnitDigits, rules } = definition;
  return hashOf({ currency, minorUnitDigits, rules, lots });
}

const hashOf = (value: object) => canonicalHash(value).slice(0, 32);

export type Defined =
  | { readonly outcome: "defined" }
  | { readonly outcome: "refused"; readonly why: string }
  /** What this server has must be compared first; nothing was done. */
  | { readonly outcome: "unconfirmed" };

/**
 * Writes an auction's rules and lots. Repeating it changes nothing. Once the auction is open, only
 * withdrawals, later closes and `suspended` are taken; any other change is refused whole.
 * @param epoch of a first definition; a store that has the auction keeps its own
 * @param maxPendingBytes events not archived yet that the outbox may hold before bids are refused
 */
export async function defineLots(
  store: Store,
  keys: Keys,
  definition: AuctionDefinition,
  { epoch = 1, maxPendingBytes }: { epoch?: number; maxPendingBytes: number },
): Promise<Defined> {
  const { lots } = definition;
  for (;;) {
    const [known, knownEpoch] = await store.hmget(keys.auction, "lotIds", "epoch");
    const lotIds = lots.map(({ lotId }) => lotId);
    const dropped = (JSON.parse(known ?? "[]") as string[]).filter((id) => !lotIds.includes(id));
    const fields = fieldsOf(definition, Number(knownEpoch ?? epoch), maxPendingBytes);
    const definitions = [
      ...lots.map((lot) => ({
        lotId: lot.lotId,
        withdrawn: lot.withdrawn,
        fields: lotFieldsOf(lot),
      })),
      ...dropped.map((lotId) => ({ lotId })),
    ];
    const allKeys = [
      keys.auction,
      keys.outbox,
      keys.due,
      ...keysOfLots(keys, [...lotIds, ...dropped]),
    ];
    const [word, why] = await store.defineLots(
      allKeys.length,
      ...allKeys,
      JSON.stringify(fields),
      JSON.stringify(definitions),
      known ?? "",
    );
    if (word === "refused") return { outcome: word, why: why ?? "" };
    if (word === "defined" || word === "unconfirmed") return { outcome: word };
    // "again": somebody else defined it between our look and our call. Look again.
  }
}

/** An auction as its hash keeps it. */
export function fieldsOf(
  definition: AuctionDefinition,
  epoch: number,
  maxPendingBytes: number,
): Record<string, string> {
  const { uid, name, title, currency, minorUnitDigits, opensAtMs, rules, lots } = definition;
  return {
    uid,
    name,
    title,
    currency,
    minorUnitDigits: String(minorUnitDigits),
    opensAtMs: text(opensAtMs),
    lotIds: JSON.stringify(lots.map(({ lotId }) => lotId)),
    increments: JSON.stringify(rules.increments.map((band) => [band.fromMinor, band.stepMinor])),
    windowMs: String(rules.antiSniping.windowMs),
    extensionMs: String(rules.antiSniping.extensionMs),
    maxExtensions: String(rules.antiSniping.maxExtensions),
    maxAmountMinor: String(rules.maxAmountMinor),
    reserveDisclosure: rules.reserveDisclosure,
    suspended: definition.suspended ? "1" : "0",
    maxPendingBytes: String(maxPendingBytes),
    epoch: String(epoch),
    rulesHash: rulesHashOf(definition),
    termsHash: termsHashOf(definition),
  };
}

/** What a lot's hash keeps of its definition. */
export function lotFieldsOf(lot: LotDefinition): Record<string, string> {
  return {
    lotId: lot.lotId,
    title: lot.title,
    startMinor: String(lot.startMinor),
    reserveMinor: text(lot.reserveMinor),
    closesAtMs: text(lot.closesAtMs),
    lastsMs: text(lot.lastsMs),
  };
}

function text(value: number | null): string {
  return value === null ? "" : String(value);
}
