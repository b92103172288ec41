/** The cases of what runs an Auction on a cluster; as auction-cases.ts, on the same two sides. */
import { accepted, auctionWith, type Case, refused, SERVER } from "./auction-cases.ts";

const withTiers = (tiers: unknown) => auctionWith({ tiers });
const withBacking = (backing: unknown) => auctionWith({ backing });
const withExposure = (exposure: unknown) => auctionWith({ exposure });
const EXTERNAL = { mode: "External", external: { secretRef: { name: "s" } } };
const HOST = "bids.example.com";

/** A Production Auction, with parts of its spec replaced. */
const production = (spec: Record<string, unknown> = {}) =>
  auctionWith({
    profile: "Production",
    access: { jwksUrl: "https://id.example.com/keys" },
    backing: { redis: EXTERNAL, nats: EXTERNAL, postgres: EXTERNAL },
    ...spec,
  });

export const CLUSTER_CASES: readonly Case[] = [
  accepted("a fixed count", withTiers({ gateway: { replicas: 2 }, broadcast: { replicas: 2 } })),
  accepted(
    "an autoscaler",
    withTiers({ gateway: { autoscaling: { minReplicas: 1, maxReplicas: 1 } } }),
  ),
  accepted(
    "quantities as numbers and as text",
    withTiers({
      gateway: { resources: { requests: { cpu: 1, memory: "256Mi" }, limits: { cpu: "1.5" } } },
    }),
  ),
  accepted(
    "pods on certain nodes",
    withTiers({
      scheduling: {
        topologySpread: "Required",
        nodeSelector: { disk: "ssd" },
        tolerations: [{ key: "auctions", operator: "Exists", effect: "NoSchedule" }],
      },
    }),
  ),
  accepted("tiers up from the creation on", withTiers({ prewarm: "0s", scaleDownAfter: "0s" })),
  accepted("an External store", withBacking({ nats: EXTERNAL })),
  accepted(
    "an External NATS with three replicas",
    withBacking({ nats: { ...EXTERNAL, streamReplicas: 3 } }),
  ),
  accepted(
    "a Managed store with a volume",
    withBacking({ redis: { managed: { storage: { size: "5Gi" } } } }),
  ),
  accepted("Production", production()),
  accepted(
    "Production with autoscalers",
    production({
      tiers: {
        gateway: { autoscaling: { minReplicas: 2, maxReplicas: 30 } },
        broadcast: { autoscaling: { minReplicas: 2, maxReplicas: 60 } },
      },
    }),
  ),
  accepted("an Ingress with TLS", withExposure({ host: HOST, ingress: {}, tlsSecretName: "tls" })),
  accepted(
    "a Gateway",
    withExposure({ host: HOST, gateway: { name: "public", namespace: "edge" } }),
  ),
  accepted(
    "origins that may bid",
    auctionWith({ access: { allowedOrigins: ["https://a.example.com"] } }),
  ),
  accepted(
    "an Auction let go of at once",
    auctionWith({ deletion: { policy: "Abandon", dataPolicy: "Delete" } }),
  ),

  refused(
    "a count and an autoscaler for gateway",
    withTiers({ gateway: { replicas: 2, autoscaling: { minReplicas: 1, maxReplicas: 3 } } }),
    "spec.tiers.gateway.autoscaling",
    /not both/,
  ),
  refused(
    "a count and an autoscaler for broadcast",
    withTiers({ broadcast: { replicas: 2, autoscaling: { minReplicas: 1, maxReplicas: 3 } } }),
    "spec.tiers.broadcast.autoscaling",
    /not both/,
  ),
  refused(
    "a gateway's most below its least",
    withTiers({ gateway: { autoscaling: { minReplicas: 5, maxReplicas: 3 } } }),
    "spec.tiers.gateway.autoscaling.maxReplicas",
    /below minReplicas/,
  ),
  refused(
    "a broadcast's most below its least",
    withTiers({ broadcast: { autoscaling: { minReplicas: 5, maxReplicas: 3 } } }),
    "spec.tiers.broadcast.autoscaling.maxReplicas",
    /below minReplicas/,
  ),
  refused(
    "an autoscaler without a most",
    withTiers({ gateway: { autoscaling: { minReplicas: 1 } } }),
    "spec.tiers.gateway.autoscaling.maxReplicas",
    /required/,
    SERVER.required,
  ),
  refused(
    "an archival that does not run",
    withTiers({ archival: { replicas: 0 } }),
    "spec.tiers.archival.replicas",
    />= 1/,
    SERVER.least,
  ),
  refused(
    "a quantity in words",
    withTiers({ gateway: { resources: { requests: { memory: "a lot" } } } }),
    "spec.tiers.gateway.resources.requests.memory",
    /must/,
    SERVER.pattern,
  ),
  refused(
    "a prewarm of two days",
    withTiers({ prewarm: "48h" }),
    "spec.tiers.prewarm",
    /at most 24h/,
  ),
  refused(
    "a scaling down after a year",
    withTiers({ scaleDownAfter: "8760h" }),
    "spec.tiers.scaleDownAfter",
    /at most 30 days/,
  ),
  refused(
    "a lag of nothing",
    withTiers({ archival: { maxLag: "0s" } }),
    "spec.tiers.archival.maxLag",
    /between 1s and 1h/,
  ),
  refused(
    "a duration too long for a clock",
    withTiers({ prewarm: "99999999999h" }),
    "spec.tiers.prewarm",
    /duration/,
    SERVER.pattern,
  ),

  ...(["redis", "nats", "postgres"] as const).flatMap((store) => [
    refused(
      `an External ${store} without a Secret`,
      withBacking({ [store]: { mode: "External" } }),
      `spec.backing.${store}.external`,
      /needs external.secretRef/,
    ),
    refused(
      `a Managed ${store} with a Secret`,
      withBacking({ [store]: { ...EXTERNAL, mode: "Managed" } }),
      `spec.backing.${store}.external`,
      /only mode External/,
    ),
    refused(
      `an External ${store} with a volume`,
      withBacking({ [store]: { ...EXTERNAL, managed: {} } }),
      `spec.backing.${store}.managed`,
      /only mode Managed/,
    ),
  ]),
  refused(
    "a Managed NATS with three replicas",
    withBacking({ nats: { streamReplicas: 3 } }),
    "spec.backing.nats.streamReplicas",
    /one server/,
  ),
  refused(
    "an External NATS with two replicas",
    withBacking({ nats: { ...EXTERNAL, streamReplicas: 2 } }),
    "spec.backing.nats.streamReplicas",
    /1|3/,
    SERVER.choice,
  ),
  refused(
    "a volume without a unit",
    withBacking({ redis: { managed: { storage: { size: "5" } } } }),
    "spec.backing.redis.managed.storage.size",
    /must match/,
    SERVER.pattern,
  ),

  ...(["redis", "nats", "postgres"] as const).map((store) =>
    refused(
      `Production with a Managed ${store}`,
      production({
        backing: {
          redis: EXTERNAL,
          nats: EXTERNAL,
          postgres: EXTERNAL,
          [store]: { mode: "Managed" },
        },
      }),
      "spec.backing",
      /Production needs External/,
    ),
  ),
  ...(["gateway", "broadcast"] as const).flatMap((tier) => [
    refused(
      `Production with one ${tier}`,
      production({ tiers: { [tier]: { replicas: 1 } } }),
      `spec.tiers.${tier}`,
      /at least 2 replicas/,
    ),
    refused(
      `Production with a ${tier} that scales down to one`,
      production({ tiers: { [tier]: { autoscaling: { minReplicas: 1, maxReplicas: 9 } } } }),
      `spec.tiers.${tier}`,
      /at least 2 replicas/,
    ),
  ]),
  refused(
    "Production with development tokens",
    production({ access: {} }),
    "spec.access.jwksUrl",
    /Production needs access.jwksUrl/,
  ),
  {
    name: "Production and nothing else",
    auction: auctionWith({ profile: "Production" }),
    problems: [
      { path: "spec.backing", message: /Production needs External/ },
      { path: "spec.access.jwksUrl", message: /Production needs access.jwksUrl/ },
    ],
  },
  refused(
    "a profile of its own",
    auctionWith({ profile: "Staging" }),
    "spec.profile",
    /Development or Production/,
    SERVER.choice,
  ),

  refused("a host and no way to it", withExposure({ host: HOST }), "spec.exposure", /exactly one/),
  refused(
    "two ways to a host",
    withExposure({ host: HOST, ingress: {}, gateway: { name: "public" } }),
    "spec.exposure",
    /exactly one/,
  ),
  refused(
    "a certificate for a Gateway",
    withExposure({ host: HOST, gateway: { name: "public" }, tlsSecretName: "tls" }),
    "spec.exposure.tlsSecretName",
    /for an ingress/,
  ),
  refused(
    "a stream cut before its ping",
    withExposure({ host: HOST, ingress: {}, webSocketTimeout: "10s" }),
    "spec.exposure.webSocketTimeout",
    /between 1m and 24h/,
  ),
  refused(
    "a host with a path",
    withExposure({ host: "example.com/bids", ingress: {} }),
    "spec.exposure.host",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "an origin with a path",
    auctionWith({ access: { allowedOrigins: ["https://a.example.com/page"] } }),
    "spec.access.allowedOrigins[0]",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "a key set from a file",
    auctionWith({ access: { jwksUrl: "file:///keys" } }),
    "spec.access.jwksUrl",
    /must match/,
    SERVER.pattern,
  ),
  refused(
    "a drain of a second",
    auctionWith({ deletion: { drainTimeout: "1s" } }),
    "spec.deletion.drainTimeout",
    /between 10s and 24h/,
  ),
  refused(
    "a tier of its own",
    withTiers({ cashier: { replicas: 1 } }),
    "spec.tiers.cashier",
    /not a field/,
    SERVER.unknown,
  ),
];
