/** What every plan computes first from an observation. Pure. */
import { type AuctionDefinition, rulesHashOf } from "../../services/store/define-lots.ts";
import { definitionOf } from "../api/definition.ts";
import type { DesiredInputs, Scale } from "../desired/inputs.ts";
import { endpointsOf } from "../desired/endpoints.ts";
import type { Observation } from "./observation.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import type { StatusFacts } from "./status-facts.ts";

/** The rules that the spec defines, and their hash; null while a Secret that they need is missing. */
export type DesiredRules =
  | { readonly definition: AuctionDefinition; readonly rulesHash: string }
  | { readonly definition: null; readonly rulesHash: null };

export function desiredRules({ auction, secrets }: Observation): DesiredRules {
  if (secrets.obstacle !== null) return { definition: null, rulesHash: null };
  const { name, uid, generation } = auction.metadata;
  const named = { ...auction, metadata: { name } };
  const definition = definitionOf(named, uid, secrets.reserves, generation);
  return { definition, rulesHash: rulesHashOf(definition) };
}

export function desiredInputsOf(
  { secrets, serves }: Observation,
  settings: OperatorSettings,
  { definition }: DesiredRules,
  scale: Scale,
): DesiredInputs {
  const { credentials, external } = secrets;
  return { ...settings, credentials, external, definition, scale, serves };
}

/** The facts of a status that are the same for every plan. */
export function observedFacts(
  { auction, nowMs, workloads, probe, secrets, memory }: Observation,
  { version }: OperatorSettings,
  { rulesHash }: DesiredRules,
) {
  const { rulesRefusal } = memory;
  return {
    auction,
    previous: auction.status ?? {},
    nowMs,
    operatorVersion: version,
    workloads,
    probe,
    secretHashes: secrets.hashes,
    endpoints: endpointsOf(auction),
    rulesHash,
    rulesRefusalReason: rulesRefusal?.hash === rulesHash ? rulesRefusal.why : null,
  } satisfies Partial<StatusFacts>;
}
