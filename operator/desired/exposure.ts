/** Exposes an auction outside the cluster with an Ingress or an HTTPRoute. */
import { durationMs } from "../api/duration.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { STREAM_PATH } from "./endpoints.ts";
import { PUBLIC_PORTS } from "./environment.ts";
import { childName, ownedMetadata } from "./identity.ts";

/** An HTTPRoute if a Gateway is set and the cluster serves HTTPRoutes, an Ingress if none is set. */
export function exposureOf(auction: StoredAuction, { serves }: DesiredInputs): KubeObject[] {
  const { exposure } = auction.spec;
  if (exposure === undefined) return [];
  if (exposure.gateway === undefined) return [ingressOf(auction, exposure)];
  return serves.httpRoute ? [routeOf(auction, exposure, exposure.gateway)] : [];
}

type Exposure = NonNullable<StoredAuction["spec"]["exposure"]>;

/** The longer path comes first: some controllers do not sort paths. */
const PATHS = [
  { path: STREAM_PATH, tier: "broadcast" },
  { path: "/", tier: "gateway" },
] as const;

function ingressOf(auction: StoredAuction, exposure: Exposure): KubeObject {
  const { host, tlsSecretName, ingress } = exposure;
  const seconds = String(Math.max(1, Math.ceil(durationMs(exposure.webSocketTimeout) / 1_000)));
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: {
      ...ownedMetadata(auction, "public", "auction"),
      annotations: {
        // The default of ingress-nginx closes a stream that is idle for a minute.
        "nginx.ingress.kubernetes.io/proxy-read-timeout": seconds,
        "nginx.ingress.kubernetes.io/proxy-send-timeout": seconds,
        ...ingress?.annotations,
      },
    },
    spec: {
      ...(ingress?.className === undefined ? {} : { ingressClassName: ingress.className }),
      ...(tlsSecretName === undefined
        ? {}
        : { tls: [{ hosts: [host], secretName: tlsSecretName }] }),
      rules: [
        {
          host,
          http: {
            paths: PATHS.map(({ path, tier }) => ({
              path,
              pathType: "Prefix",
              backend: {
                service: { name: childName(auction, tier), port: { number: PUBLIC_PORTS[tier] } },
              },
            })),
          },
        },
      ],
    },
  };
}

function routeOf(
  auction: StoredAuction,
  { host }: Exposure,
  gateway: NonNullable<Exposure["gateway"]>,
): KubeObject {
  const { name, namespace, sectionName } = gateway;
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: ownedMetadata(auction, "public", "auction"),
    spec: {
      parentRefs: [
        {
          group: "gateway.networking.k8s.io",
          kind: "Gateway",
          name,
          ...(namespace === undefined ? {} : { namespace }),
          ...(sectionName === undefined ? {} : { sectionName }),
        },
      ],
      hostnames: [host],
      rules: PATHS.map(({ path, tier }) => ({
        matches: [{ path: { type: "PathPrefix", value: path } }],
        backendRefs: [
          { group: "", kind: "Service", name: childName(auction, tier), port: PUBLIC_PORTS[tier] },
        ],
        // This timeout covers the whole request, which is the lifetime of a stream. The standard has no
        // idle timeout.
        ...(tier === "broadcast" ? { timeouts: { request: "0s" } } : {}),
      })),
    },
  };
}
