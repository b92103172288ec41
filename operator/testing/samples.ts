/** Auctions as an API server returns them, with inputs for the desired objects. For tests. */
import fc from "fast-check";
import { definitionOf } from "../api/definition.ts";
import { validateAuction } from "../api/validate-auction.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { DesiredInputs, Scale } from "../desired/inputs.ts";

const UID = "7d8f6a52-3c1e-4b7a-9a55-0e7c7c1f1d01";

/** A number that occurs nowhere else in an object. */
export const RESERVE_MINOR = 45_678_901;

/** Applies the defaults. @throws Error if the Auction is invalid */
export function stored(spec: object, name = "spring-sale", namespace = "sales"): StoredAuction {
  const validation = validateAuction({
    apiVersion: "gavel.dev/v1alpha1",
    kind: "Auction",
    metadata: { name },
    spec: {
      currency: "EUR",
      schedule: { lasts: "30m" },
      lots: [{ id: "oak-table", startMinor: 12_000, reserveMinor: RESERVE_MINOR }],
      ...spec,
    },
  });
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return {
    ...validation.auction,
    metadata: { ...validation.auction.metadata, namespace, uid: UID, generation: 1 },
  };
}

export function desiredInputsOf(
  auction: StoredAuction,
  more: Partial<DesiredInputs> = {},
): DesiredInputs {
  return {
    images: {
      gavel: "gavel:1.0.0",
      redis: "redis:7",
      nats: "nats:2",
      postgres: "postgres:16",
    },
    storeUsers: { redis: 999, nats: 1000, postgres: 999 },
    imagePullPolicy: "IfNotPresent",
    credentials: {
      tokenSecret: "the-secret-of-tokens-0123456789abcdef",
      operatorToken: "the-token-of-the-operator",
      redisPassword: 'the-password"of\\redis',
      natsPassword: "the-password-of-nats",
      postgresPassword: "the-password/of:postgres@",
    },
    definition: definitionOf(auction, auction.metadata.uid, new Map()),
    scale: "full",
    operator: {
      namespace: "gavel-system",
      podLabels: { "app.kubernetes.io/name": "gavel-operator" },
    },
    serves: { podMonitor: true, httpRoute: true },
    otlpEndpoint: null,
    ...more,
  };
}

const external = (name: string, key?: string) => ({
  mode: "External",
  external: { secretRef: { name, ...(key === undefined ? {} : { key }) } },
});

export interface Sample {
  readonly auction: StoredAuction;
  readonly inputs: DesiredInputs;
}

const sample = (auction: StoredAuction, more?: Partial<DesiredInputs>): Sample => ({
  auction,
  inputs: desiredInputsOf(auction, more),
});

/** Each is a file of golden/. */
export const SAMPLES: Readonly<Record<string, Sample>> = {
  development: sample(stored({ title: "Spring sale" })),

  production: sample(
    stored(
      {
        title: "Evening sale",
        profile: "Production",
        access: {
          issuer: "https://id.example.com/",
          audience: "bids",
          jwksUrl: "https://id.example.com/keys",
          allowedOrigins: ["https://www.example.com"],
        },
        exposure: {
          host: "sale.example.com",
          tlsSecretName: "sale-tls",
          ingress: { className: "nginx", annotations: { "cert-manager.io/issuer": "public" } },
          webSocketTimeout: "2h",
        },
        tiers: {
          scheduling: {
            topologySpread: "Required",
            nodeSelector: { pool: "auctions" },
            priorityClassName: "auctions",
            tolerations: [{ key: "auctions", operator: "Exists", effect: "NoSchedule" }],
          },
          gateway: {
            autoscaling: { minReplicas: 3, maxReplicas: 30 },
            resources: { requests: { cpu: 1, memory: "256Mi" }, limits: { memory: "1Gi" } },
          },
          broadcast: {
            autoscaling: { minReplicas: 4, maxReplicas: 60, targetCPUUtilizationPercentage: 50 },
            maxConnectionsPerPod: 10_000,
          },
          archival: { replicas: 2, outboxMaxBytes: 1024 ** 3 },
        },
        backing: {
          redis: { ...external("redis-url"), durability: "Replica" },
          nats: { ...external("nats-creds", "url"), streamReplicas: 3 },
          postgres: external("pg-app"),
        },
      },
      "evening-sale",
    ),
    {
      otlpEndpoint: "http://collector.telemetry:4318",
      external: {
        redis: { host: "redis.example.com", port: 6380 },
        nats: { host: "nats.messaging.svc", port: 4222 },
        postgres: { host: "pg-rw", port: 5432 },
      },
    },
  ),

  "gateway-api": sample(
    stored(
      {
        exposure: {
          host: "sale.example.com",
          gateway: { name: "public", namespace: "infra", sectionName: "https" },
        },
        tiers: {
          scheduling: { topologySpread: "None" },
          broadcast: { image: "gavel:next", replicas: 3 },
        },
        backing: {
          postgres: external("pg-app"),
          redis: {
            managed: {
              image: "redis:8",
              storage: { size: "5Gi", storageClassName: "fast" },
              resources: { limits: { memory: "2Gi" } },
            },
          },
        },
      },
      "winter-sale",
    ),
    { scale: "over", serves: { podMonitor: false, httpRoute: true } },
  ),
};

const autoscaled = fc.constantFrom(
  {},
  { replicas: 0 },
  { replicas: 7 },
  { autoscaling: { minReplicas: 2, maxReplicas: 9 } },
);
const grace = fc.record(
  { terminationGracePeriodSeconds: fc.integer({ min: 5, max: 3600 }) },
  { requiredKeys: [] },
);
const tier = fc.tuple(autoscaled, grace).map(([count, period]) => ({ ...count, ...period }));
const store = fc.constantFrom(
  {},
  { managed: { storage: { size: "2Gi" } } },
  external("elsewhere"),
  external("elsewhere", "url"),
);
const exposure = fc.constantFrom(
  undefined,
  { host: "a.example", ingress: {} },
  { host: "a.example", ingress: { className: "nginx" }, tlsSecretName: "tls" },
  { host: "a.example", gateway: { name: "public" } },
);
const access = fc.record(
  {
    jwksUrl: fc.constantFrom("https://id.example/keys", "http://keycloak.auth.svc:8080/keys"),
    allowedOrigins: fc.constantFrom([], ["https://a.example", "https://b.example"]),
  },
  { requiredKeys: [] },
);

/** Random valid Auctions with random inputs. */
export const anySample: fc.Arbitrary<Sample> = fc
  .record({
    name: fc.stringMatching(/^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/),
    spec: fc.record({
      exposure,
      access,
      tiers: fc.record({
        scheduling: fc.record({
          topologySpread: fc.constantFrom("None", "Preferred", "Required"),
        }),
        gateway: tier,
        broadcast: tier,
        archival: fc.tuple(grace, fc.integer({ min: 1, max: 3 })).map(([period, replicas]) => ({
          ...period,
          replicas,
        })),
      }),
      backing: fc.record({
        redis: fc
          .tuple(store, fc.constantFrom("Disk", "Replica"))
          .map(([of, durability]) => ({ ...of, durability })),
        nats: fc.tuple(store, fc.constantFrom(1, 3)).map(([of, replicas]) => ({
          ...of,
          streamReplicas: "external" in of ? replicas : 1,
        })),
        postgres: store,
      }),
    }),
    scale: fc.constantFrom<Scale>("waiting", "full", "over", "no-viewers", "no-intake"),
    known: fc.boolean(),
    served: fc.boolean(),
    otlpEndpoint: fc.constantFrom(null, "http://collector.telemetry:4318"),
  })
  .map(({ name, spec, scale, known, served, otlpEndpoint }) => {
    const { exposure: exposed, ...rest } = spec;
    const auction = stored(exposed === undefined ? rest : spec, name);
    const more = {
      scale,
      otlpEndpoint,
      serves: { podMonitor: served, httpRoute: served },
      ...(known ? {} : { definition: null }),
    };
    return sample(auction, more);
  });
