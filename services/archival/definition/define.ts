/**
 * Defines an auction in a store: registers it in Postgres first, then writes it to Redis. Only archival does
 * this, because only archival can tell a new store from one that lost its data.
 */
import { type AuctionDefinition, defineLots, isOlder } from "../../store/define-lots.ts";
import { readAuction } from "../../store/lots.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { raiseEpoch, registerAuction, saveDefinition } from "../postgres/auctions.ts";
import { type CheckDependencies, checkStore } from "../recovery/check-store.ts";

export type DefineOutcome =
  | { readonly outcome: "defined" }
  /** The store keeps the rules that it has. */
  | { readonly outcome: "refused"; readonly why: string }
  /** The store has a newer definition. */
  | { readonly outcome: "outdated" };

/** @throws when a store does not answer: nothing was decided, and the call may be repeated */
export async function defineAuction(
  dependencies: CheckDependencies,
  definition: AuctionDefinition,
): Promise<DefineOutcome> {
  const { store, keys, archive, limits } = dependencies;
  const registered = await registerAuction(archive, definition);
  let { epoch } = registered;
  const checked = await checkStore(dependencies, null);
  if (checked === "removed") return { outcome: "refused", why: "the auction was removed" };
  if (checked === "new" && registered.saved !== null) {
    // An earlier store took the auction, and nothing of it was archived. Its events are lost, and must not be
    // confused with new ones.
    epoch = await raiseEpoch(archive, definition.uid);
  }
  // A new store has no definition to compare generations with.
  const { saved } = registered;
  const outdated = saved !== null && isOlder(definition, saved);
  const newest = outdated ? saved : definition;
  const defined = await defineLots(store, keys, newest, { epoch, ...limits });
  if (defined.outcome === "unconfirmed")
    throw new StoreUnavailable("Redis changed during the definition");
  if (defined.outcome !== "defined") return defined;
  // Only after the store accepted the rules: a restore uses the saved ones, which must be those in force.
  const taken = await readAuction(store, keys);
  const rules = taken?.rules ?? newest.rules;
  await saveDefinition(archive, { ...newest, rules }, taken?.suspendedAtMs ?? null);
  await checkStore(dependencies, null);
  return { outcome: outdated ? "outdated" : "defined" };
}
