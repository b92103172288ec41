/** The part of the schema that says how the tiers run on a cluster, and what a deletion does. `make up` ignores it. */
import Type from "typebox";
import {
  DEFAULT_ACCEPTED_PER_SECOND,
  DEFAULT_OUTBOX_MAX_BYTES,
} from "../../services/store/memory-budget.ts";
import { Duration, Image, Name, Resources, Section, strict } from "./field-schemas.ts";

const Replicas = (minimum: 0 | 1, byDefault?: number) =>
  Type.Integer({
    format: "int32",
    minimum,
    maximum: 500,
    description: "Number of pods. Without it and without autoscaling: 1, in Production 2.",
    ...(byDefault === undefined ? {} : { default: byDefault }),
  });

export const Autoscaling = Type.Object(
  {
    minReplicas: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 500,
      description: "Minimum number of pods.",
    }),
    maxReplicas: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 500,
      description: "Maximum number of pods.",
    }),
    targetCPUUtilizationPercentage: Type.Integer({
      format: "int32",
      minimum: 1,
      maximum: 100,
      default: 60,
      description: "Target CPU use, in percent of the request. Needs a metrics server.",
    }),
  },
  {
    ...strict,
    description: "Scales the tier with a HorizontalPodAutoscaler. Instead of replicas.",
  },
);

const Grace = (seconds: number, description: string) =>
  Type.Integer({ format: "int64", minimum: 5, maximum: 3600, default: seconds, description });

export const GatewayTier = Section(
  {
    image: Type.Optional(Image),
    replicas: Type.Optional(Replicas(0)),
    autoscaling: Type.Optional(Autoscaling),
    resources: Type.Optional(Resources),
    terminationGracePeriodSeconds: Grace(
      30,
      "Time for a stopping pod to answer its pending requests.",
    ),
  },
  "The tier that takes bids over HTTP.",
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
      description: "Maximum number of sockets of a pod. Further connections are answered with 503.",
    }),
    terminationGracePeriodSeconds: Grace(
      60,
      "Time over which a stopping pod asks its viewers to reconnect to another pod.",
    ),
  },
  "The tier that sends events to viewers over WebSocket.",
);

export const ArchivalTier = Section(
  {
    image: Type.Optional(Image),
    replicas: Replicas(1, 1),
    resources: Type.Optional(Resources),
    maxLag: Duration({
      description:
        "ArchiveCurrent becomes False when the oldest event that is not archived is older than this.",
      default: "30s",
    }),
    outboxMaxBytes: Type.Integer({
      format: "int64",
      minimum: 1024 * 1024,
      maximum: 16 * 1024 ** 3,
      default: DEFAULT_OUTBOX_MAX_BYTES,
      description:
        "Maximum bytes of events that are not archived. Above it, bids are rejected with 503.",
    }),
    acceptedPerSecond: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: DEFAULT_ACCEPTED_PER_SECOND,
      description:
        "Accepted bids a second, averaged over ten minutes, for which Redis has room to keep idempotency keys. After more, bids are answered with 503 until the ten minutes are over.",
    }),
    terminationGracePeriodSeconds: Grace(30, "Time for a stopping pod to hand over its work."),
  },
  "The tier that writes the archive. It runs from creation to deletion.",
);

const Toleration = Type.Object(
  {
    key: Type.Optional(
      Type.String({ maxLength: 253, description: "Key of the taint. If absent: any key." }),
    ),
    operator: Type.Optional(
      Type.Enum(["Exists", "Equal"], {
        type: "string",
        description: "Whether the value of the taint is compared. Default: Equal.",
      }),
    ),
    value: Type.Optional(Type.String({ maxLength: 63, description: "Value of the taint." })),
    effect: Type.Optional(
      Type.Enum(["NoSchedule", "PreferNoSchedule", "NoExecute"], {
        type: "string",
        description: "Effect of the taint. If absent: all effects.",
      }),
    ),
    tolerationSeconds: Type.Optional(
      Type.Integer({
        format: "int64",
        description: "How long the pod stays on a node with a NoExecute taint.",
      }),
    ),
  },
  strict,
);

const Scheduling = Section(
  {
    topologySpread: Type.Enum(["None", "Preferred", "Required"], {
      type: "string",
      default: "Preferred",
      description: "Whether the pods of a tier are spread over zones and nodes.",
    }),
    nodeSelector: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 63 }), {
        maxProperties: 16,
        description: "Labels that the node must have.",
      }),
    ),
    priorityClassName: Type.Optional(Name("PriorityClass of the pods.")),
    tolerations: Type.Optional(
      Type.Array(Toleration, { maxItems: 16, description: "Taints that the pods tolerate." }),
    ),
  },
  "Scheduling of the pods of tiers and stores.",
);

export const Tiers = Section(
  {
    updatePolicy: Type.Enum(["WhenIdle", "Immediate"], {
      type: "string",
      default: "WhenIdle",
      description:
        "WhenIdle defers changes that restart pods (image, environment, upgrade of the operator) while the auction is Open or Closing.",
    }),
    prewarm: Duration({
      description:
        "How long before opensAt gateway and broadcast start. 0s: they start at creation.",
      default: "10m",
    }),
    scaleDownAfter: Duration({
      description:
        "How long after Settled broadcast is scaled to 0 and gateway to 1, which still answers results and history.",
      default: "15m",
    }),
    scheduling: Scheduling,
    gateway: GatewayTier,
    broadcast: BroadcastTier,
    archival: ArchivalTier,
  },
  "The three tiers that run the auction.",
);

export const Deletion = Section(
  {
    policy: Type.Enum(["Drain", "Abandon"], {
      type: "string",
      default: "Drain",
      description:
        "Drain keeps the Auction until the archive is proven complete. Abandon does not.",
    }),
    drainTimeout: Duration({ description: "How long the drain may take.", default: "10m" }),
    onTimeout: Type.Enum(["Hold", "Release"], {
      type: "string",
      default: "Hold",
      description:
        "After drainTimeout, Hold keeps the Auction and sets the condition Stalled. Release deletes it, and an Event says what is not archived.",
    }),
    dataPolicy: Type.Enum(["Retain", "Delete"], {
      type: "string",
      default: "Retain",
      description: "Whether the volume and the password of a Managed Postgres are kept.",
    }),
  },
  "What happens when the Auction is deleted.",
);

export type Autoscaling = Type.Static<typeof Autoscaling>;
export type GatewayTier = Type.Static<typeof GatewayTier>;
export type BroadcastTier = Type.Static<typeof BroadcastTier>;
export type ArchivalTier = Type.Static<typeof ArchivalTier>;
export type Tiers = Type.Static<typeof Tiers>;
export type Deletion = Type.Static<typeof Deletion>;
