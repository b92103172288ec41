/** NetworkPolicies: all connections are denied except those that are listed here. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { type Component, type StoreName, TIERS } from "../api/components.ts";
import type { Address, DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { INTERNAL_PORTS, PUBLIC_PORTS } from "./environment.ts";
import { keptMetadata, metadataOf, NAME_LABEL, selectorOf } from "./identity.ts";
import { isManaged, STORE_PORTS } from "./secrets.ts";
import { managedStoresOf } from "./stores.ts";

export interface Peer {
  readonly podSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly namespaceSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
}

interface Port {
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
}

/** Without `from` or `to`: any peer. Without `ports`: any port. */
export interface Ingress {
  readonly from?: readonly Peer[];
  readonly ports?: readonly Port[];
}
export interface Egress {
  readonly to?: readonly Peer[];
  readonly ports?: readonly Port[];
}

const NAMESPACE_NAME = "kubernetes.io/metadata.name";

/**
 * Clients of the internal ports besides gateway and operator, by the labels of their charts, in any
 * namespace. Probes of the kubelet need no rule.
 */
const PROMETHEUS: Peer = {
  namespaceSelector: {},
  podSelector: { matchLabels: { "app.kubernetes.io/name": "prometheus" } },
};
const CHAOS_MESH: Peer = {
  namespaceSelector: {},
  podSelector: { matchLabels: { "app.kubernetes.io/part-of": "chaos-mesh" } },
};

/** Any peer: a DNS cache on the node is not a pod that a policy can select. */
const DNS: Egress = {
  ports: [
    { port: 53, protocol: "UDP" },
    { port: 53, protocol: "TCP" },
  ],
};

const tcp = (port: number): Port => ({ port, protocol: "TCP" });

export function policiesOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return [
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: keptMetadata(auction, "default-deny", "auction"),
      spec: {
        podSelector: { matchLabels: { [NAME_LABEL]: auction.metadata.name } },
        policyTypes: ["Ingress", "Egress"],
      },
    },
    ...TIERS.map((tier) => {
      const stores: readonly StoreName[] =
        tier === "archival" ? ["redis", "nats", "postgres"] : ["redis"];
      return policy(auction, tier, {
        ingress: [
          ...(tier === "archival" ? [] : [{ ports: [tcp(PUBLIC_PORTS[tier])] }]),
          { from: internalClientsOf(tier, auction, inputs), ports: [tcp(INTERNAL_PORTS[tier])] },
        ],
        egress: [
          DNS,
          ...stores.flatMap((store) => toStore(store, auction, inputs)),
          ...(tier === "gateway"
            ? [{ to: [podsOf(auction, "archival")], ports: [tcp(INTERNAL_PORTS.archival)] }]
            : []),
          ...toUrl(auction.spec.access.jwksUrl, auction),
          ...toUrl(inputs.otlpEndpoint ?? undefined, auction),
        ],
      });
    }),
    ...managedStoresOf(auction).map((store) => {
      const readers = store === "redis" ? TIERS : (["archival"] as const);
      return policy(auction, store, {
        ingress: [
          {
            from: readers.map((tier) => podsOf(auction, tier)),
            ports: [tcp(STORE_PORTS[store])],
          },
        ],
        egress: [], // Stores open no connections.
      });
    }),
  ];
}

function policy(
  auction: StoredAuction,
  component: Component,
  rules: { readonly ingress: readonly Ingress[]; readonly egress: readonly Egress[] },
): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: metadataOf(auction, component, component),
    spec: {
      podSelector: { matchLabels: selectorOf(auction, component) },
      policyTypes: ["Ingress", "Egress"],
      ...rules,
    },
  };
}

function podsOf(auction: StoredAuction, component: Component): Peer {
  return { podSelector: { matchLabels: selectorOf(auction, component) } };
}

function internalClientsOf(
  tier: Component,
  auction: StoredAuction,
  { operator }: DesiredInputs,
): Peer[] {
  return [
    {
      namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: operator.namespace } },
      podSelector: { matchLabels: operator.podLabels },
    },
    PROMETHEUS,
    CHAOS_MESH,
    ...(tier === "archival" ? [podsOf(auction, "gateway")] : []),
  ];
}

function toStore(store: StoreName, auction: StoredAuction, { external }: DesiredInputs): Egress[] {
  const port = STORE_PORTS[store];
  if (isManaged(store, auction)) return [{ to: [podsOf(auction, store)], ports: [tcp(port)] }];
  const address = external?.[store];
  return address === undefined ? [{ ports: [tcp(port)] }] : toAddress(address, auction);
}

function toUrl(url: string | undefined, auction: StoredAuction): Egress[] {
  const address = url === undefined ? null : addressOf(url, null);
  return address === null ? [] : toAddress(address, auction);
}

/** Host and port of the URL of a store, for `DesiredInputs.external`; null if it is not a URL. */
export function storeAddressOf(store: StoreName, url: string): Address | null {
  return addressOf(url, STORE_PORTS[store]);
}

function addressOf(url: string, defaultPort: number | null): Address | null {
  if (!URL.canParse(url)) return null;
  const { hostname, port, protocol } = new URL(url);
  const fallbackPort = defaultPort ?? (protocol === "https:" ? 443 : 80);
  return hostname === ""
    ? null
    : { host: hostname, port: port === "" ? fallbackPort : Number(port) };
}

/**
 * Policies do not know host names. For a host outside the cluster, only the port is restricted. For a Service,
 * every port of its namespace is allowed, because its pods may listen on another port than the Service.
 */
function toAddress({ host, port }: Address, auction: StoredAuction): Egress[] {
  const namespace = namespaceOf(host, auction);
  return [
    { ports: [tcp(port)] },
    ...(namespace === null
      ? []
      : [{ to: [{ namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: namespace } } }] }]),
  ];
}

/** The namespace of a host that may be a Service: `name`, `name.namespace`, `name.namespace.svc` and longer. */
function namespaceOf(host: string, auction: StoredAuction): string | null {
  const [name, namespace, svc] = host.split(".");
  if (name === "localhost" || /^[\d.]+$|:/.test(host)) return null;
  if (namespace === undefined) return auction.metadata.namespace;
  return svc === undefined || svc === "svc" ? namespace : null;
}
