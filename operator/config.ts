import Type from "typebox";
import { ProcessEnv } from "../services/runtime/env.ts";
import { ListenEnv } from "../services/runtime/listen.ts";
import type { OperatorSettings } from "./control/operator-settings.ts";

const Image = (description: string, image: string) =>
  Type.String({ description, minLength: 1, default: image });

const Uid = (store: string, uid: number) =>
  Type.Integer({
    description: `Numeric user and group that the ${store} image runs as.`,
    minimum: 1,
    maximum: 2_147_483_647,
    default: uid,
  });

/** What the operator reads from its environment. */
export const OperatorEnv = Type.Object({
  ...ProcessEnv,
  POD_NAME: Type.String({
    description: "Name of this pod, used in the Lease and in Events.",
    minLength: 1,
    maxLength: 253,
    default: "gavel-operator",
  }),
  POD_NAMESPACE: Type.String({
    description: "Namespace of this pod: of the Lease, and allowed by the NetworkPolicies.",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    maxLength: 63,
    default: "gavel-system",
  }),
  POD_LABELS: Type.String({
    description: "Labels of this pod for NetworkPolicies, `key=value` separated by commas.",
    pattern: "^[^=,\\s]+=[^=,\\s]*(,[^=,\\s]+=[^=,\\s]*)*$",
    default: "app.kubernetes.io/name=gavel-operator",
  }),
  WATCH_NAMESPACES: Type.String({
    description: "Namespaces whose Auctions are reconciled, separated by commas; empty: all.",
    pattern: "^([a-z0-9]([a-z0-9-]*[a-z0-9])?(,[a-z0-9]([a-z0-9-]*[a-z0-9])?)*)?$",
    default: "",
  }),
  IMAGE: Image("Image of gateway, broadcast and archival: this operator's own.", "gavel:dev"),
  REDIS_IMAGE: Image("Image of a Managed Redis.", "redis:7"),
  NATS_IMAGE: Image("Image of a Managed NATS.", "nats:2"),
  POSTGRES_IMAGE: Image("Image of a Managed Postgres.", "postgres:16"),
  REDIS_UID: Uid("Redis", 999),
  NATS_UID: Uid("NATS", 1000),
  POSTGRES_UID: Uid("Postgres", 999),
  IMAGE_PULL_POLICY: Type.Enum(["IfNotPresent", "Always", "Never"], {
    type: "string",
    description: "Image pull policy of an auction's pods.",
    default: "IfNotPresent",
  }),
  LEADER_ELECT: Type.Boolean({
    description:
      "Whether to reconcile only while holding the Lease. Set false with one replica only.",
    default: true,
  }),
  KUBECONFIG: Type.Optional(
    Type.String({
      description: "Path of a kubeconfig file, to run outside of the cluster.",
      minLength: 1,
    }),
  ),
  ...ListenEnv,
  INTERNAL_PORT: Type.Integer({
    description: "Port for health and metrics; 0 takes a free one.",
    minimum: 0,
    maximum: 65_535,
    default: 9083,
  }),
  WORKERS: Type.Integer({
    description: "Auctions reconciled at the same time.",
    minimum: 1,
    maximum: 64,
    default: 4,
  }),
  OTLP_ENDPOINT: Type.Optional(
    Type.String({
      description: "URL of an OpenTelemetry collector, passed on to every tier.",
      pattern: "^https?://",
    }),
  ),
});

export type OperatorEnv = Type.Static<typeof OperatorEnv>;

/** POD_LABELS as an object. */
function readLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(",").map((pair) => {
      const at = pair.indexOf("=");
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

/** WATCH_NAMESPACES as a list; empty means all. */
export const readNamespaces = (text: string): string[] => (text === "" ? [] : text.split(","));

/** What is the same for all Auctions. @param version the operator's own */
export function readSettings(env: OperatorEnv, version: string): OperatorSettings {
  return {
    version,
    images: {
      gavel: env.IMAGE,
      redis: env.REDIS_IMAGE,
      nats: env.NATS_IMAGE,
      postgres: env.POSTGRES_IMAGE,
    },
    storeUsers: { redis: env.REDIS_UID, nats: env.NATS_UID, postgres: env.POSTGRES_UID },
    imagePullPolicy: env.IMAGE_PULL_POLICY,
    operator: { namespace: env.POD_NAMESPACE, podLabels: readLabels(env.POD_LABELS) },
    otlpEndpoint: env.OTLP_ENDPOINT ?? null,
  };
}
