/** How an Auction runs on a cluster: the part of its schema that one machine ignores. */
import Type from "typebox";
import { Value } from "typebox/value";
import { DURATION_PATTERN } from "./duration.ts";

/** A CRD keeps no unknown field. */
export const strict = { additionalProperties: false };

export const Duration = (options: { description: string; default?: string }) =>
  Type.String({ format: "duration", pattern: DURATION_PATTERN, maxLength: 32, ...options });

/**
 * An object that may be left out. Its default is spelled out from those of its properties: a CRD's
 * rules run on the literal default, before nested defaults are filled in.
 */
export function Section<P extends Type.TProperties>(properties: P, description: string) {
  const spelledOut = Value.Default(Type.Object(properties), {}) as object;
  return Type.Object(properties, { ...strict, description, default: spelledOut });
}

const Name = (description: string) => Type.String({ minLength: 1, maxLength: 253, description });

const Replicas = (minimum: 0 | 1, byDefault?: number) =>
  Type.Integer({
    format: "int32",
    minimum,
    maximum: 500,
    description: "How many pods. Without it and without autoscaling: 1, in Production 2.",
    ...(byDefault === undefined ? {} : { default: byDefault }),
  });

export const Autoscaling = Type.Object(
  {
    minReplicas: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 500,
      description: "The least pods.",
    }),
    maxReplicas: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 500,
      description: "The most pods.",
    }),
    targetCPUUtilizationPercentage: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 100,
      default: 60,
      description: "Of what the pods request. Needs a metrics server.",
    }),
  },
  { ...strict, description: "A HorizontalPodAutoscaler in place of a fixed count." },
);

const QUANTITY =
  "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";

const Quantities = (description: string) =>
  Type.Record(
    Type.String(),
    Type.Union([Type.Integer(), Type.String({ pattern: QUANTITY, maxLength: 32 })], {
      "x-kubernetes-int-or-string": true,
    }),
    { maxProperties: 8, description },
  );

const Resources = Type.Object(
  {
    requests: Type.Optional(Quantities("What is set aside for it.")),
    limits: Type.Optional(Quantities("What it may use at most.")),
  },
  { ...strict, description: "What each pod requests and may use, as Kubernetes writes it." },
);

const Grace = (seconds: number, description: string) =>
  Type.Integer({ format: "int64", minimum: 5, maximum: 3600, default: seconds, description });

const Image = Type.String({
  minLength: 1,
  maxLength: 512,
  description: "In place of the operator's own.",
});

export const GatewayTier = Section(
  {
    image: Type.Optional(Image),
    replicas: Type.Optional(Replicas(0)),
    autoscaling: Type.Optional(Autoscaling),
    resources: Type.Optional(Resources),
    terminationGracePeriodSeconds: Grace(30, "How long a pod may take to answer what it has."),
  },
  "Takes bids over HTTP.",
);

export const BroadcastTier = Section(
  {
    image: Type.Optional(Image),
    replicas: Type.Optional(Replicas(0)),
    autoscaling: Type.Optional(Autoscaling),
    resources: Type.Optional(Resources),
    maxConnectionsPerPod: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 1_000_000,
      default: 20_000,
      description: "Sockets that a pod holds; more are answered 503.",
    }),
    terminationGracePeriodSeconds: Grace(
      60,
      "A pod that stops asks its viewers, spread within this time, to come back elsewhere.",
    ),
  },
  "Shows bids over WebSocket.",
);

export const ArchivalTier = Section(
  {
    image: Type.Optional(Image),
    replicas: Replicas(1, 1),
    resources: Type.Optional(Resources),
    maxLag: Duration({
      description: "ArchiveCurrent turns False when the oldest event not archived is older.",
      default: "30s",
    }),
    outboxMaxBytes: Type.Integer({
      format: "int64",
      minimum: 1024 * 1024,
      maximum: 16 * 1024 ** 3,
      default: 256 * 1024 ** 2,
      description: "Bytes of events not archived yet at which bids are refused.",
    }),
    terminationGracePeriodSeconds: Grace(30, "How long a pod may take to hand over its work."),
  },
  "Writes the permanent record. Runs from creation to deletion.",
);

const Toleration = Type.Object(
  {
    key: Type.Optional(
      Type.String({ maxLength: 253, description: "Of the taint; without it, any." }),
    ),
    operator: Type.Optional(
      Type.Enum(["Exists", "Equal"], {
        type: "string",
        description: "Whether the taint's value matters; without it: Equal.",
      }),
    ),
    value: Type.Optional(Type.String({ maxLength: 63, description: "Of the taint." })),
    effect: Type.Optional(
      Type.Enum(["NoSchedule", "PreferNoSchedule", "NoExecute"], {
        type: "string",
        description: "Of the taint; without it, all.",
      }),
    ),
    tolerationSeconds: Type.Optional(
      Type.Integer({ format: "int64", description: "How long NoExecute is borne." }),
    ),
  },
  strict,
);

const Scheduling = Section(
  {
    topologySpread: Type.Enum(["None", "Preferred", "Required"], {
      type: "string",
      default: "Preferred",
      description: "Whether a tier's pods keep to different zones and nodes.",
    }),
    nodeSelector: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 63 }), {
        maxProperties: 16,
        description: "Labels that a node must have.",
      }),
    ),
    priorityClassName: Type.Optional(Name("Of the tiers' pods.")),
    tolerations: Type.Optional(
      Type.Array(Toleration, { maxItems: 16, description: "Taints that the pods bear." }),
    ),
  },
  "Where the tiers' pods run.",
);

export const Tiers = Section(
  {
    updatePolicy: Type.Enum(["WhenIdle", "Immediate"], {
      type: "string",
      default: "WhenIdle",
      description:
        "WhenIdle defers what would restart pods (image, environment, an operator's upgrade) while the auction is Open or Closing.",
    }),
    prewarm: Duration({
      description:
        "How long before opensAt gateway and broadcast come up. 0s: they are up from the creation on.",
      default: "10m",
    }),
    scaleDownAfter: Duration({
      description:
        "How long after Settled broadcast goes to 0 and gateway to 1, which goes on answering results and history.",
      default: "15m",
    }),
    scheduling: Scheduling,
    gateway: GatewayTier,
    broadcast: BroadcastTier,
    archival: ArchivalTier,
  },
  "The processes that run the auction.",
);

const SecretRef = Type.Object(
  {
    name: Name("Of the Secret, in the Auction's namespace."),
    key: Type.String({
      minLength: 1,
      maxLength: 253,
      default: "uri",
      description: "Its key with the URL.",
    }),
  },
  { ...strict, description: "Secret key with the URL. It may be rotated: pods read it again." },
);

const External = Type.Object(
  { secretRef: SecretRef },
  { ...strict, description: "Where it is. For mode External." },
);

const Managed = Type.Object(
  {
    image: Type.Optional(Image),
    resources: Type.Optional(Resources),
    storage: Section(
      {
        size: Type.String({
          pattern: "^[0-9]+(Mi|Gi|Ti)$",
          maxLength: 20,
          default: "1Gi",
          description: "How large it is.",
        }),
        storageClassName: Type.Optional(Name("Without it: the cluster's default.")),
      },
      "Its volume.",
    ),
  },
  { ...strict, description: "One replica, for development and tests." },
);

const Mode = Type.Enum(["Managed", "External"], {
  type: "string",
  default: "Managed",
  description: "Who runs it: the operator, or somebody else.",
});

export const Backing = Section(
  { mode: Mode, external: Type.Optional(External), managed: Type.Optional(Managed) },
  "Managed: the operator runs one replica. External: a Secret says where it is.",
);

export const RedisBacking = Section(
  {
    mode: Mode,
    external: Type.Optional(External),
    managed: Type.Optional(Managed),
    durability: Type.Enum(["Disk", "Replica"], {
      type: "string",
      default: "Disk",
      description:
        "When a bid is acknowledged: once it is on Redis's disk, or once a replica has it too.",
    }),
  },
  "The store in which bids are decided.",
);

export const Backings = Section(
  { redis: RedisBacking, nats: Backing, postgres: Backing },
  "The stores under the tiers. Their modes cannot change once the auction is provisioned.",
);

export const Access = Section(
  {
    issuer: Type.String({
      minLength: 1,
      maxLength: 512,
      default: "gavel",
      description: "What a token's `iss` must be.",
    }),
    audience: Type.String({
      minLength: 1,
      maxLength: 512,
      default: "gavel",
      description: "What a token's `aud` must be or contain.",
    }),
    jwksUrl: Type.Optional(
      Type.String({
        pattern: "^https?://",
        maxLength: 2048,
        description:
          "Key set of the identity provider. Without it, in Development only, the operator makes a secret for HS256 tokens: Secret `<auction>-access`, key `secret`.",
      }),
    ),
    allowedOrigins: Type.Optional(
      Type.Array(Type.String({ pattern: "^https?://[^\\s/,]+$", maxLength: 253 }), {
        maxItems: 32,
        "x-kubernetes-list-type": "set",
        description: "Sites whose pages may bid.",
      }),
    ),
  },
  "Who may bid: whose tokens are believed.",
);

export const Exposure = Type.Object(
  {
    host: Type.String({
      pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
      maxLength: 253,
      description: "DNS name of the auction: bids at /, the stream at /v1/stream.",
    }),
    tlsSecretName: Type.Optional(Name("Certificate of the host; for an Ingress.")),
    ingress: Type.Optional(
      Type.Object(
        {
          className: Type.Optional(Name("IngressClass; without it the cluster's default.")),
          annotations: Type.Optional(
            Type.Record(Type.String(), Type.String({ maxLength: 4096 }), {
              maxProperties: 32,
              description: "For the controller of that class.",
            }),
          ),
        },
        { ...strict, description: "Exposed by an Ingress." },
      ),
    ),
    gateway: Type.Optional(
      Type.Object(
        {
          name: Name("Of the Gateway (gateway.networking.k8s.io)."),
          namespace: Type.Optional(Name("Of the Gateway; without it the Auction's.")),
          sectionName: Type.Optional(Name("Its listener.")),
        },
        { ...strict, description: "Exposed by an HTTPRoute to this Gateway." },
      ),
    ),
    webSocketTimeout: Duration({
      description: "How long a quiet stream may stay open in the proxy.",
      default: "1h",
    }),
  },
  { ...strict, description: "How bidders and viewers outside the cluster reach the auction." },
);

export const Deletion = Section(
  {
    policy: Type.Enum(["Drain", "Abandon"], {
      type: "string",
      default: "Drain",
      description: "Drain proves that the archive is complete before it lets go; Abandon does not.",
    }),
    drainTimeout: Duration({ description: "How long the drain may take.", default: "10m" }),
    onTimeout: Type.Enum(["Hold", "Release"], {
      type: "string",
      default: "Hold",
      description:
        "Hold keeps the Auction and raises Stalled; Release lets go and says in an Event what is not archived.",
    }),
    dataPolicy: Type.Enum(["Retain", "Delete"], {
      type: "string",
      default: "Retain",
      description: "What becomes of the volume (and password) of a Managed Postgres.",
    }),
  },
  "The auction's end.",
);

export type Autoscaling = Type.Static<typeof Autoscaling>;
export type GatewayTier = Type.Static<typeof GatewayTier>;
export type BroadcastTier = Type.Static<typeof BroadcastTier>;
export type ArchivalTier = Type.Static<typeof ArchivalTier>;
export type Tiers = Type.Static<typeof Tiers>;
export type Backing = Type.Static<typeof Backing>;
export type RedisBacking = Type.Static<typeof RedisBacking>;
export type Backings = Type.Static<typeof Backings>;
export type Access = Type.Static<typeof Access>;
export type Exposure = Type.Static<typeof Exposure>;
export type Deletion = Type.Static<typeof Deletion>;
