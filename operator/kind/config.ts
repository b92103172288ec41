/** The environment variables of `make image`, `make kind-up` and `make kind-down`. */
import Type from "typebox";
import { OperatorEnv } from "../config.ts";

/** Settings that the chart passes on to the operator. */
export const ChartSettings = Type.Pick(OperatorEnv, [
  "REDIS_IMAGE",
  "NATS_IMAGE",
  "POSTGRES_IMAGE",
  "REDIS_UID",
  "NATS_UID",
  "POSTGRES_UID",
  "OTLP_ENDPOINT",
]);

export type ChartSettings = Type.Static<typeof ChartSettings>;

export const KindEnv = Type.Object({
  KIND_CLUSTER: Type.String({
    description: "Name of the kind cluster. It is created if it does not exist.",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    maxLength: 40,
    default: "gavel",
  }),
  IMAGE: Type.String({
    description: "Name and tag of the image that is built.",
    pattern: "^[a-z0-9][a-z0-9./_:-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
    default: "gavel:dev",
  }),
  BASE: Type.String({
    description: "Base image, with Node 24.",
    minLength: 1,
    default: "node:24-bookworm-slim",
  }),
  NODE_IMAGE: Type.Optional(
    Type.String({
      description: "Image of the cluster's node. Default: the one of kind.",
      minLength: 1,
    }),
  ),
  ...ChartSettings.properties,
  OBSERVE: Type.Boolean({
    description:
      "`make kind-up`: also run Prometheus in the cluster, with the alerts of dashboards/.",
    default: false,
  }),
  PROMETHEUS_IMAGE: Type.String({
    description: "Image of Prometheus, for OBSERVE=1.",
    minLength: 1,
    default: "prom/prometheus:v3.5.0",
  }),
  FILE: Type.String({
    description: "`make kind-up`: file of the Auction that is applied.",
    minLength: 1,
    default: "manifests/samples/spring-sale.yaml",
  }),
  NAMESPACE: Type.String({
    description: "`make kind-up`: namespace of the Auction.",
    pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    maxLength: 63,
    default: "default",
  }),
});

export type KindEnv = Type.Static<typeof KindEnv>;
