/**
 * Evaluates NetworkPolicies as a cluster would, and resolves a URL within a set of objects. For tests,
 * because not every cluster's network enforces policies.
 */
import type { KubeObject } from "../desired/kube-object.ts";
import type { Egress, Ingress, Peer } from "../desired/policies.ts";

export interface Pod {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A pod, or an address outside of the cluster. */
export type Place = Pod | "outside";

interface PolicySpec {
  readonly podSelector: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly policyTypes: readonly ("Ingress" | "Egress")[];
  readonly ingress?: readonly Ingress[];
  readonly egress?: readonly Egress[];
}

/** Whether the source's egress and the target's ingress allow a connection. */
export function mayConnect(
  policies: readonly KubeObject[],
  from: Place,
  to: Place,
  port: number,
  protocol: "TCP" | "UDP" = "TCP",
): boolean {
  const judged = policies.filter(({ kind }) => kind === "NetworkPolicy");
  return (
    allows(judged, "Egress", from, to, port, protocol) &&
    allows(judged, "Ingress", to, from, port, protocol)
  );
}

function allows(
  policies: readonly KubeObject[],
  direction: "Ingress" | "Egress",
  guarded: Place,
  other: Place,
  port: number,
  protocol: string,
): boolean {
  if (guarded === "outside") return true;
  const applying = policies
    .filter(({ metadata }) => metadata.namespace === guarded.namespace)
    .map((policy) => policy["spec"] as PolicySpec)
    .filter(({ policyTypes }) => policyTypes.includes(direction))
    .filter(({ podSelector }) => matches(podSelector, guarded.labels));
  if (applying.length === 0) return true;
  return applying.some((spec) => {
    const rules =
      direction === "Ingress"
        ? (spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }))
        : (spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }));
    return rules.some(
      ({ peers, ports }) =>
        (ports === undefined ||
          ports.some((each) => each.port === port && each.protocol === protocol)) &&
        (peers === undefined || peers.some((peer) => isPeer(peer, other, guarded.namespace))),
    );
  });
}

function isPeer(peer: Peer, place: Place, namespace: string): boolean {
  if (place === "outside") return false;
  const { podSelector, namespaceSelector } = peer;
  const inNamespace =
    namespaceSelector === undefined
      ? place.namespace === namespace
      : matches(namespaceSelector, { "kubernetes.io/metadata.name": place.namespace });
  return inNamespace && (podSelector === undefined || matches(podSelector, place.labels));
}

function matches(
  selector: { readonly matchLabels?: Readonly<Record<string, string>> },
  labels: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

interface Template {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly containers: readonly {
      readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
    }[];
  };
}

export function templatesOf(objects: readonly KubeObject[]) {
  return objects
    .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
    .map(({ metadata, ...object }) => {
      const { template } = object["spec"] as { template: Template };
      return { namespace: metadata.namespace, labels: template.metadata.labels, template };
    });
}

/**
 * The pod and port that an address resolves to through a Service of these objects.
 * @returns null for an address outside of them
 * @throws Error if a Service has no pods, or lacks the port
 */
export function resolve(
  objects: readonly KubeObject[],
  host: string,
  port: number,
): { readonly pod: Pod; readonly port: number } | null {
  const service = objects.find(
    ({ kind, metadata }) => kind === "Service" && `${metadata.name}.${metadata.namespace}` === host,
  );
  if (service === undefined) return null;
  const spec = service["spec"] as {
    selector: Record<string, string>;
    ports: { port: number; targetPort: string }[];
  };
  const target = spec.ports.find((each) => each.port === port)?.targetPort;
  const found = templatesOf(objects).find(({ labels }) =>
    matches({ matchLabels: spec.selector }, labels),
  );
  const ports = found?.template.spec.containers.flatMap((container) => container.ports ?? []);
  const containerPort = ports?.find(({ name }) => name === target)?.containerPort;
  if (found === undefined || containerPort === undefined) {
    throw new Error(`${host}:${port} leads to no pod`);
  }
  return { pod: { namespace: found.namespace, labels: found.labels }, port: containerPort };
}
