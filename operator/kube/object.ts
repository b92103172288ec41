/** Kubernetes objects as plain JSON, without classes that lose unknown fields; and the path of each kind. */

/** The name of a kind. */
export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
}

/** One object. Cluster-scoped kinds have no namespace. */
export interface Ref extends Kind {
  readonly namespace?: string | undefined;
  readonly name: string;
}

interface OwnerReference extends Kind {
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Times are RFC 3339 strings. */
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

/** An object without a type of its own. Its fields are `any`: otherwise every access needs a cast. */
export interface AnyObject extends KubernetesObject {
  [field: string]: any;
}

/** A kind, and the resource that serves it. */
export interface ServedKind extends Kind {
  /** As in paths, RBAC rules and metrics. */
  readonly plural: string;
  readonly namespaced: boolean;
}

const served = (
  apiVersion: string,
  kind: string,
  plural: string,
  namespaced = true,
): ServedKind => ({ apiVersion, kind, plural, namespaced });

/** The kinds that Kubernetes and its usual extensions serve, as far as an operator needs them. */
export const KINDS = {
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
} as const satisfies Record<string, ServedKind>;

/** "/api/v1" or "/apis/<group>/<version>". */
export const groupPath = (apiVersion: string): string =>
  apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;

/** Finds the path of a kind or an object: KINDS, and the custom resources that the program adds. */
export class KindTable {
  readonly #kinds: ReadonlyMap<string, ServedKind>;

  constructor(customKinds: readonly ServedKind[]) {
    const all: ServedKind[] = Object.values(KINDS);
    this.#kinds = new Map(all.concat(customKinds).map((entry) => [idOf(entry), entry]));
  }

  /** The path of all objects of a kind: of one namespace, or of all. @throws Error if the kind is unknown */
  collectionPath(kind: Kind, namespace?: string): string {
    const { plural, namespaced } = this.#find(kind);
    const scope =
      namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
    return `${groupPath(kind.apiVersion)}${scope}/${plural}`;
  }

  /** The path of one object. @throws Error if the kind is unknown, or a namespaced object has no namespace */
  objectPath(ref: Ref, subresource?: string): string {
    if (this.#find(ref).namespaced && !ref.namespace) {
      throw new Error(`${ref.kind} ${ref.name} needs a namespace`);
    }
    const path = `${this.collectionPath(ref, ref.namespace)}/${encodeURIComponent(ref.name)}`;
    return subresource === undefined ? path : `${path}/${subresource}`;
  }

  #find(kind: Kind): ServedKind {
    const found = this.#kinds.get(idOf(kind));
    if (!found) throw new Error(`unknown kind: ${idOf(kind)}`);
    return found;
  }
}

const idOf = ({ apiVersion, kind }: Kind) => `${apiVersion}/${kind}`;

export const refOf = ({ apiVersion, kind, metadata }: KubernetesObject): Ref => ({
  apiVersion,
  kind,
  namespace: metadata.namespace,
  name: metadata.name,
});

/** "namespace/name", or "name" for a cluster-scoped object: the key of queues and caches. */
export function keyOf({
  metadata: { namespace, name },
}: {
  metadata: Pick<ObjectMeta, "namespace" | "name">;
}): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
