/** Kubernetes objects as they travel: plain JSON, nothing parsed into classes and no field lost; and where each kind is served. */

/** What the API server calls a kind. */
export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
}

/** One object. Cluster-scoped kinds have no namespace. */
export interface Ref extends Kind {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface OwnerReference extends Kind {
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Times are RFC 3339 texts, as sent. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  creationTimestamp?: string;
  deletionTimestamp?: string;
  managedFields?: unknown[];
}

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object whose fields the reader looks at without a type of its own: any, as each field would need a cast. */
export interface AnyObject extends KubernetesObject {
  [field: string]: any;
}

interface Served extends Kind {
  readonly plural: string;
  readonly namespaced: boolean;
}

const served = (apiVersion: string, kind: string, plural: string, namespaced = true): Served => ({
  apiVersion,
  kind,
  plural,
  namespaced,
});

/** Every kind that the operator reads or writes. */
export const KINDS = {
  Auction: served("gavel.dev/v1alpha1", "Auction", "auctions"),
  Deployment: served("apps/v1", "Deployment", "deployments"),
  StatefulSet: served("apps/v1", "StatefulSet", "statefulsets"),
  ControllerRevision: served("apps/v1", "ControllerRevision", "controllerrevisions"),
  Service: served("v1", "Service", "services"),
  ServiceAccount: served("v1", "ServiceAccount", "serviceaccounts"),
  Secret: served("v1", "Secret", "secrets"),
  ConfigMap: served("v1", "ConfigMap", "configmaps"),
  Pod: served("v1", "Pod", "pods"),
  Namespace: served("v1", "Namespace", "namespaces", false),
  PersistentVolumeClaim: served("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
  HorizontalPodAutoscaler: served(
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
  ),
  PodDisruptionBudget: served("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
  NetworkPolicy: served("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
  Ingress: served("networking.k8s.io/v1", "Ingress", "ingresses"),
  HTTPRoute: served("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
  PodMonitor: served("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
  Lease: served("coordination.k8s.io/v1", "Lease", "leases"),
  Event: served("events.k8s.io/v1", "Event", "events"),
  CustomResourceDefinition: served(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    false,
  ),
} as const satisfies Record<string, Served>;

const byKind = new Map<string, Served>(
  Object.values(KINDS).map((entry) => [`${entry.apiVersion}/${entry.kind}`, entry]),
);

function servedAs({ apiVersion, kind }: Kind): Served {
  const entry = byKind.get(`${apiVersion}/${kind}`);
  if (!entry) throw new Error(`${apiVersion} ${kind} is not in the table of kinds`);
  return entry;
}

/** The plural, as in RBAC rules and metrics. @throws Error for a kind that is not in KINDS */
export const pluralOf = (kind: Kind): string => servedAs(kind).plural;

/** "/api/v1" or "/apis/<group>/<version>". */
export const groupPath = (apiVersion: string): string =>
  apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;

/** Where a kind is listed: in one namespace, else in all. @throws Error for a kind that is not in KINDS */
export function collectionPath(kind: Kind, namespace?: string): string {
  const { plural, namespaced } = servedAs(kind);
  const scope =
    namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${groupPath(kind.apiVersion)}${scope}/${plural}`;
}

/** Where one object is. @throws Error where a namespaced kind has no namespace */
export function objectPath(ref: Ref, subresource?: string): string {
  if (servedAs(ref).namespaced && !ref.namespace) {
    throw new Error(`${ref.kind} ${ref.name} needs a namespace`);
  }
  const path = `${collectionPath(ref, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

export const refOf = ({ apiVersion, kind, metadata }: KubernetesObject): Ref => ({
  apiVersion,
  kind,
  namespace: metadata.namespace,
  name: metadata.name,
});

/** "namespace/name", or "name" of a cluster-scoped object: what queues and caches go by. */
export function keyOf({
  metadata: { namespace, name },
}: {
  metadata: Pick<ObjectMeta, "namespace" | "name">;
}): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export function parseKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf("/");
  return slash === -1
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}
