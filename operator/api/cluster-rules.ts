/** Rules for the fields that say how an Auction runs on a cluster. */
import { durationMs } from "./duration.ts";
import type { AutoscaledScope, Rule, RuleAt, SizedScope, StoreScope } from "./rule.ts";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

const eitherReplicasOrAutoscaling = (path: SizedScope): RuleAt<SizedScope> => ({
  path,
  field: "autoscaling",
  reads: ["replicas", "autoscaling"],
  rule: "!(has(self.replicas) && has(self.autoscaling))",
  message: "set replicas or autoscaling, not both",
  holds: ({ replicas, autoscaling }) => replicas === undefined || autoscaling === undefined,
});

const maxNotBelowMin = (path: AutoscaledScope): RuleAt<AutoscaledScope> => ({
  path,
  field: "maxReplicas",
  reads: ["minReplicas", "maxReplicas"],
  rule: "self.maxReplicas >= self.minReplicas",
  message: "maxReplicas must not be below minReplicas",
  holds: ({ minReplicas, maxReplicas }) => maxReplicas >= minReplicas,
});

const twoReplicasInProduction = (tier: "gateway" | "broadcast"): RuleAt<"spec"> => ({
  path: "spec",
  field: `tiers.${tier}`,
  reads: ["profile", "tiers"],
  rule:
    `self.profile != 'Production' || (has(self.tiers.${tier}.autoscaling)` +
    ` ? self.tiers.${tier}.autoscaling.minReplicas >= 2` +
    ` : !has(self.tiers.${tier}.replicas) || self.tiers.${tier}.replicas >= 2)`,
  message: "profile Production needs at least 2 replicas, or autoscaling from 2 on",
  holds: ({ profile, tiers }) => {
    const { replicas = 2, autoscaling } = tiers[tier]; // the default in Production
    return profile !== "Production" || (autoscaling?.minReplicas ?? replicas) >= 2;
  },
});

const externalOnlyInModeExternal = (path: StoreScope): RuleAt<StoreScope> => ({
  path,
  field: "external",
  reads: ["mode", "external"],
  rule: "(self.mode == 'External') == has(self.external)",
  message: "mode External needs external.secretRef, and only mode External has it",
  holds: ({ mode, external }) => (mode === "External") === (external !== undefined),
});

const managedOnlyInModeManaged = (path: StoreScope): RuleAt<StoreScope> => ({
  path,
  field: "managed",
  reads: ["mode", "managed"],
  rule: "self.mode == 'Managed' || !has(self.managed)",
  message: "only mode Managed has managed",
  holds: ({ mode, managed }) => mode === "Managed" || managed === undefined,
});

const oneReplicaOfManagedStream: RuleAt<"spec.backing.nats"> = {
  path: "spec.backing.nats",
  field: "streamReplicas",
  reads: ["mode", "streamReplicas"],
  rule: "self.mode == 'External' || self.streamReplicas == 1",
  message: "a Managed nats is one server: its streamReplicas must be 1",
  holds: ({ mode, streamReplicas }) => mode === "External" || streamReplicas === 1,
};

const STORE_SCOPES: readonly StoreScope[] = [
  "spec.backing.redis",
  "spec.backing.nats",
  "spec.backing.postgres",
];

export const CLUSTER_RULES: readonly Rule[] = [
  eitherReplicasOrAutoscaling("spec.tiers.gateway"),
  eitherReplicasOrAutoscaling("spec.tiers.broadcast"),
  maxNotBelowMin("spec.tiers.gateway.autoscaling"),
  maxNotBelowMin("spec.tiers.broadcast.autoscaling"),
  twoReplicasInProduction("gateway"),
  twoReplicasInProduction("broadcast"),
  ...STORE_SCOPES.flatMap((path) => [
    externalOnlyInModeExternal(path),
    managedOnlyInModeManaged(path),
  ]),
  oneReplicaOfManagedStream,
  {
    path: "spec",
    field: "backing",
    reads: ["profile", "backing"],
    rule: "self.profile != 'Production' || (self.backing.redis.mode == 'External' && self.backing.nats.mode == 'External' && self.backing.postgres.mode == 'External')",
    message:
      "profile Production needs External redis, nats and postgres: a Managed one is a single replica for development",
    holds: ({ profile, backing: { redis, nats, postgres } }) =>
      profile !== "Production" || [redis, nats, postgres].every(({ mode }) => mode === "External"),
  },
  {
    path: "spec",
    field: "access.jwksUrl",
    reads: ["profile", "access"],
    rule: "self.profile != 'Production' || has(self.access.jwksUrl)",
    message: "profile Production needs access.jwksUrl: development tokens are for development",
    holds: ({ profile, access }) => profile !== "Production" || access.jwksUrl !== undefined,
  },
  {
    path: "spec.exposure",
    rule: "has(self.ingress) != has(self.gateway)",
    message: "set exactly one of ingress and gateway",
    holds: ({ ingress, gateway }) => (ingress === undefined) !== (gateway === undefined),
  },
  {
    path: "spec.exposure",
    field: "tlsSecretName",
    reads: ["tlsSecretName", "ingress"],
    rule: "!has(self.tlsSecretName) || has(self.ingress)",
    message: "tlsSecretName is for an ingress; a Gateway has certificates in its listeners",
    holds: ({ tlsSecretName, ingress }) => tlsSecretName === undefined || ingress !== undefined,
  },
  {
    path: "spec.exposure",
    field: "webSocketTimeout",
    reads: ["webSocketTimeout"],
    rule: "self.webSocketTimeout >= duration('1m') && self.webSocketTimeout <= duration('24h')",
    message: "webSocketTimeout must be between 1m and 24h: a quiet stream is pinged every 25s",
    holds: ({ webSocketTimeout }) =>
      durationMs(webSocketTimeout) >= 60 * SECOND_MS &&
      durationMs(webSocketTimeout) <= 24 * HOUR_MS,
  },
  {
    path: "spec.tiers",
    field: "prewarm",
    reads: ["prewarm"],
    rule: "self.prewarm <= duration('24h')",
    message: "prewarm may be at most 24h; 0s keeps the tiers up from the creation on",
    holds: ({ prewarm }) => durationMs(prewarm) <= 24 * HOUR_MS,
  },
  {
    path: "spec.tiers",
    field: "scaleDownAfter",
    reads: ["scaleDownAfter"],
    rule: "self.scaleDownAfter <= duration('720h')",
    message: "scaleDownAfter may be at most 30 days (720h)",
    holds: ({ scaleDownAfter }) => durationMs(scaleDownAfter) <= 720 * HOUR_MS,
  },
  {
    path: "spec.tiers.archival",
    field: "maxLag",
    reads: ["maxLag"],
    rule: "self.maxLag >= duration('1s') && self.maxLag <= duration('1h')",
    message: "maxLag must be between 1s and 1h",
    holds: ({ maxLag }) => durationMs(maxLag) >= SECOND_MS && durationMs(maxLag) <= HOUR_MS,
  },
  {
    path: "spec.deletion",
    field: "drainTimeout",
    reads: ["drainTimeout"],
    rule: "self.drainTimeout >= duration('10s') && self.drainTimeout <= duration('24h')",
    message: "drainTimeout must be between 10s and 24h",
    holds: ({ drainTimeout }) =>
      durationMs(drainTimeout) >= 10 * SECOND_MS && durationMs(drainTimeout) <= 24 * HOUR_MS,
  },
];
