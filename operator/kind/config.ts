/** What `make image`, `make kind-up` and `make kind-down` can be told by variables. */
import Type from "typebox";
import { OperatorEnv } from "../config.ts";

/** What the operator is told, too. */
export const Told = Type.Pick(OperatorEnv, [
  "REDIS_IMAGE",
  "NATS_IMAGE",
  "POSTGRES_IMAGE",
  "REDIS_UID",
  "NATS_UID",
  "POSTGRES_UID",
  "OTLP_ENDPOINT",
]);

export type Told = Type.Static<typeof Told>;

export const KindEnv = Type.Object({
  KIND_CLUSTER: Type.String({
    description: "The kind cluster: used where it is there, made where it is not.",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    maxLength: 40,
    default: "gavel",
  }),
  IMAGE: Type.String({
    description: "What the image that is built is called.",
    pattern: "^[a-z0-9][a-z0-9./_:-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
    default: "gavel:dev",
  }),
  BASE: Type.String({
    description: "The image with Node 24 that it is built on.",
    minLength: 1,
    default: "node:24-bookworm-slim",
  }),
  NODE_IMAGE: Type.Optional(
    Type.String({
      description: "Image of the cluster's node; without it kind's own.",
      minLength: 1,
    }),
  ),
  ...Told.properties,
  OBSERVE: Type.Boolean({
    description: "`make kind-up`: Prometheus in the cluster, too, with the alerts of dashboards/.",
    default: false,
  }),
  PROMETHEUS_IMAGE: Type.String({
    description: "Used with OBSERVE=1.",
    minLength: 1,
    default: "prom/prometheus:v3.5.0",
  }),
  FILE: Type.String({
    description: "`make kind-up`: the Auction that is applied.",
    minLength: 1,
    default: "manifests/samples/spring-sale.yaml",
  }),
  NAMESPACE: Type.String({
    description: "`make kind-up`: where it is applied.",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    maxLength: 63,
    default: "default",
  }),
});

export type KindEnv = Type.Static<typeof KindEnv>;
