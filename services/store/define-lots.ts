import { DEFAULT_MAX_JUMP, type Rules } from "../lot/terms.ts";
import { canonicalHash } from "../runtime/canonical-hash.ts";
import type { Store } from "./connect.ts";
import { DEFAULT_ACCEPTED_PER_SECOND, maxKeysBytesFor } from "./memory-budget.ts";
import { type Keys, keysOfLots } from "./keys.ts";

/** The definition of an auction: the content of a rules file. */
export interface AuctionDefinition {
  readonly uid: string;
  /**
   * The Auction's `metadata.generation`: of two definitions the one with the lower is older. 0: not known
   * (`make up`, or an operator of an earlier version); such a definition is never older.
   */
  readonly generation: number;
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
  /** Exactly one of the two is set: an instant, or a duration from the opening. */
  readonly closesAtMs: number | null;
  readonly lastsMs: number | null;
  readonly withdrawn: boolean;
}

/** Bids are refused from these limits on. */
export interface StoreLimits {
  /** Bytes of events that are not archived. */
  readonly maxPendingBytes: number;
  /** Bytes of idempotency keys of one window. */
  readonly maxKeysBytes?: number;
}

const USUAL_KEYS_BYTES = maxKeysBytesFor(DEFAULT_ACCEPTED_PER_SECOND);

export function isOlder(definition: AuctionDefinition, than: AuctionDefinition): boolean {
  return definition.generation > 0 && definition.generation < than.generation;
}

/** The hash of a definition without its generation: the store has these rules when the hashes are equal. */
export function rulesHashOf(definition: AuctionDefinition): string {
  const { generation: _, ...said } = definition;
  return hashOf({ ...said, rules: hashedRules(definition.rules) });
}

/** The hash of what is frozen once the auction is open: all but withdrawals, closes and `suspended`. */
function termsHashOf(definition: AuctionDefinition): string {
  const lots = definition.lots.map(({ lotId, title, startMinor, reserveMinor }) => {
    return { lotId, title, startMinor, reserveMinor };
  });
  const { currency, minorUnitDigits } = definition;
  return hashOf({ currency, minorUnitDigits, rules: hashedRules(definition.rules), lots });
}

/** An upgrade adds the default of `maxJump`. That is not a change: a definition without `maxJump` has the same hash. */
function hashedRules({ maxJump, ...rules }: Rules): object {
  return maxJump === null || maxJump === DEFAULT_MAX_JUMP ? rules : { ...rules, maxJump };
}

const hashOf = (value: object) => canonicalHash(value).slice(0, 32);

export type Defined =
  | { readonly outcome: "defined" }
  | { readonly outcome: "refused"; readonly why: string }
  /** The store has a newer definition; nothing was done. */
  | { readonly outcome: "outdated" }
  /** The server is not confirmed; nothing was done. */
  | { readonly outcome: "unconfirmed" };

/**
 * Writes the rules and lots of an auction. A repeated call changes nothing. Once the auction is open, only
 * withdrawals, later closes and `suspended` may change; a definition with another change is refused.
 * @param epoch for a first definition; a store that has the auction keeps its epoch
 */
export async function defineLots(
  store: Store,
  keys: Keys,
  definition: AuctionDefinition,
  { epoch = 1, ...limits }: { epoch?: number } & StoreLimits,
): Promise<Defined> {
  const { lots } = definition;
  for (;;) {
    const [known, knownEpoch] = await store.hmget(keys.auction, "lotIds", "epoch");
    const lotIds = lots.map(({ lotId }) => lotId);
    const dropped = (JSON.parse(known ?? "[]") as string[]).filter((id) => !lotIds.includes(id));
    const fields = fieldsOf(definition, Number(knownEpoch ?? epoch), limits);
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
    const [status, why] = await store.defineLots(
      allKeys.length,
      ...allKeys,
      JSON.stringify(fields),
      JSON.stringify(definitions),
      known ?? "",
    );
    if (status === "refused") return { outcome: status, why: why ?? "" };
    if (status !== "again") return { outcome: status };
    // Another definition was written after our read. Read again.
  }
}

/** The fields of an auction's hash. */
export function fieldsOf(
  definition: AuctionDefinition,
  epoch: number,
  { maxPendingBytes, maxKeysBytes = USUAL_KEYS_BYTES }: StoreLimits,
): Record<string, string> {
  const { uid, name, title, currency, minorUnitDigits, opensAtMs, rules, lots } = definition;
  return {
    uid,
    generation: String(definition.generation),
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
    maxJump: text(rules.maxJump),
    reserveDisclosure: rules.reserveDisclosure,
    suspended: definition.suspended ? "1" : "0",
    maxPendingBytes: String(maxPendingBytes),
    maxKeysBytes: String(maxKeysBytes),
    epoch: String(epoch),
    rulesHash: rulesHashOf(definition),
    termsHash: termsHashOf(definition),
  };
}

/** The fields of a lot's hash that its definition sets: all but `withdrawn`, which define-lots.lua records. */
export function lotFieldsOf(
  lot: LotDefinition,
): Record<keyof Omit<LotDefinition, "withdrawn">, string> {
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
