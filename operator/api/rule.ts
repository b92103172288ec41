/** A rule of the Auction resource that needs several fields: once as CEL, once in TypeScript. */
import type { AntiSniping, AuctionLot, AuctionRules, Schedule, Spec } from "./auction-resource.ts";
import type { Exposure } from "./auction-access.ts";
import type { Backing, NatsBacking, RedisBacking } from "./auction-backing.ts";
import type {
  ArchivalTier,
  Autoscaling,
  BroadcastTier,
  Deletion,
  GatewayTier,
  Tiers,
} from "./auction-tiers.ts";

/** The paths that a rule may have, with the type of its `self`. `[]` means each element of a list. */
interface Scopes {
  spec: Spec;
  "spec.schedule": Schedule;
  "spec.rules.increments": AuctionRules["increments"];
  "spec.rules.antiSniping": AntiSniping;
  "spec.lots[]": AuctionLot;
  "spec.exposure": Exposure;
  "spec.tiers": Tiers;
  "spec.tiers.gateway": GatewayTier;
  "spec.tiers.gateway.autoscaling": Autoscaling;
  "spec.tiers.broadcast": BroadcastTier;
  "spec.tiers.broadcast.autoscaling": Autoscaling;
  "spec.tiers.archival": ArchivalTier;
  "spec.backing.redis": RedisBacking;
  "spec.backing.nats": NatsBacking;
  "spec.backing.postgres": Backing;
  "spec.deletion": Deletion;
}

type Scope = keyof Scopes;

/** Scopes that have the same rules. */
export type SizedScope = "spec.tiers.gateway" | "spec.tiers.broadcast";
export type AutoscaledScope = `${SizedScope}.autoscaling`;
export type StoreScope = "spec.backing.redis" | "spec.backing.nats" | "spec.backing.postgres";

export interface RuleAt<S extends Scope> {
  readonly path: S;
  /** The field below `path` that the message is about. */
  readonly field?: string;
  /** The fields that the rule reads. It is skipped while one of them is invalid. Default: all. */
  readonly reads?: readonly (keyof Scopes[S] & string)[];
  /** CEL, over `self`. */
  readonly rule: string;
  /** Whether the CEL also reads `oldSelf`, an optional value, to accept what an earlier version stored. */
  readonly optionalOldSelf?: true;
  readonly message: string;
  holds(self: Scopes[S]): boolean;
}

export type Rule =
  | { [S in Scope]: RuleAt<S> }[Scope]
  | RuleAt<SizedScope>
  | RuleAt<AutoscaledScope>
  | RuleAt<StoreScope>;
