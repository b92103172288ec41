/** Applies the desired objects of an Auction, resets the fields that it manages, and deletes objects that are not desired. */
import { createHash } from "node:crypto";
import type { Logger } from "../../services/runtime/log.ts";
import type { Cluster } from "../kube/client.ts";
import type { KubeObject } from "../desired/kube-object.ts";
import { UID_LABEL } from "../desired/identity.ts";
import { REVISION_ANNOTATION } from "../desired/pod-template.ts";
import { type AnyObject, keyOf, KINDS, refOf, type ServedKind } from "../kube/object.ts";

/** Field manager of the desired objects. */
export const MANAGER = "gavel-operator";
/** Field manager of `replicas` until an autoscaler sets it. */
const HANDOVER_MANAGER = "gavel-operator-handover";

export const CHILDREN_SELECTOR = "app.kubernetes.io/managed-by=gavel-operator";

/** The watched kinds. Secrets are not among them: the operator may not list them. */
export const WATCHED: readonly ServedKind[] = [
  KINDS.Deployment,
  KINDS.StatefulSet,
  KINDS.ControllerRevision,
  KINDS.Service,
  KINDS.ServiceAccount,
  KINDS.PodDisruptionBudget,
  KINDS.HorizontalPodAutoscaler,
  KINDS.NetworkPolicy,
  KINDS.Ingress,
];

/** Concurrent applies of one Auction. */
const CONCURRENCY = 4;

/** Objects that are not watched are applied again after this time, changed or not. */
const UNWATCHED_REAPPLY_MS = 60_000;

/** The objects of one kind, from all watched namespaces. */
export interface Cache {
  get(key: string): AnyObject | undefined;
  byLabel(label: string, value: string): readonly AnyObject[];
  all(): readonly AnyObject[];
}

/** By the name of the kind. */
type Caches = ReadonlyMap<string, Cache>;

interface Applied {
  /** Hash of the object that was sent. */
  readonly sent: string;
  /** Fingerprint of the object that the server stored. */
  readonly stored: string;
  readonly atMs: number;
}

const hash = (value: unknown) =>
  createHash("sha256").update(JSON.stringify(value)).digest("base64url");

/** A hash of the object without its status, its finalizers, and what the API server and the controllers write. */
function fingerprint({ metadata, status: _status, ...rest }: AnyObject): string {
  const { name, namespace, labels, ownerReferences } = metadata;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(
    ([key]) => !key.startsWith("deployment.kubernetes.io/"),
  );
  return hash([name, namespace, labels, ownerReferences, annotations.sort(), rest]);
}

const idOf = (object: KubeObject | AnyObject) => `${object.kind}/${keyOf(object)}`;

/** False for a ControllerRevision of the StatefulSet controller: it has the labels of the pods, too. */
function isOurs({ kind, metadata }: AnyObject): boolean {
  return kind !== "ControllerRevision" || metadata.annotations?.[REVISION_ANNOTATION] !== undefined;
}

export class Children {
  readonly #cluster: Cluster;
  readonly #caches: Caches;
  readonly #log: Logger;
  readonly #applied = new Map<string, Map<string, Applied>>();
  /** Uids of Deployments whose replicas an autoscaler owns. */
  readonly #handedOver = new Set<string>();

  constructor(cluster: Cluster, caches: Caches, log: Logger) {
    this.#cluster = cluster;
    this.#caches = caches;
    this.#log = log;
  }

  of(uid: string): AnyObject[] {
    return [...this.#caches.values()].flatMap((cache) =>
      cache.byLabel(UID_LABEL, uid).filter(isOurs),
    );
  }

  all(): AnyObject[] {
    return [...this.#caches.values()].flatMap((cache) => cache.all().filter(isOurs));
  }

  #cached(object: KubeObject): AnyObject | null | undefined {
    const cache = this.#caches.get(object.kind);
    return cache === undefined ? undefined : (cache.get(keyOf(object)) ?? null);
  }

  /**
   * Applies each object that is new, that differs from the last apply, or that somebody changed since.
   * @throws ApiError of the first object that failed; the others are applied nevertheless
   */
  async apply(uid: string, objects: readonly KubeObject[], dryRun = false): Promise<void> {
    const applied = this.#applied.get(uid) ?? new Map<string, Applied>();
    this.#applied.set(uid, applied);
    let failure: unknown = null;
    const waiting = objects.filter((object) => !this.#isAsSent(object, applied));
    const applyNext = async () => {
      for (let object = waiting.shift(); object !== undefined; object = waiting.shift()) {
        try {
          await this.#applyOne(object, applied, dryRun);
        } catch (error) {
          failure ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, applyNext));
    if (failure !== null) throw failure;
  }

  #isAsSent(object: KubeObject, applied: ReadonlyMap<string, Applied>): boolean {
    const before = applied.get(idOf(object));
    if (before?.sent !== hash(object)) return false;
    const cached = this.#cached(object);
    if (cached === undefined) return Date.now() - before.atMs < UNWATCHED_REAPPLY_MS;
    return cached !== null && fingerprint(cached) === before.stored;
  }

  async #applyOne(
    object: KubeObject,
    applied: Map<string, Applied>,
    dryRun: boolean,
  ): Promise<void> {
    await this.#handOver(object, this.#cached(object) ?? null, dryRun);
    const body = object as unknown as AnyObject;
    const stored = await this.#cluster.apply(body, { manager: MANAGER, force: true, dryRun });
    if (dryRun) return;
    const now = { sent: hash(object), stored: fingerprint(stored), atMs: Date.now() };
    applied.set(idOf(object), now);
  }

  /**
   * When the operator stops sending `replicas`, the API server would reset it to 1. So a second field manager
   * applies the present count once, before the autoscaler takes over.
   */
  async #handOver(object: KubeObject, cached: AnyObject | null, dryRun: boolean): Promise<void> {
    if (object.kind !== "Deployment" || cached === null || dryRun) return;
    const { replicas } = object["spec"] as { replicas?: number };
    const uid = cached.metadata.uid!;
    if (replicas !== undefined) this.#handedOver.delete(uid);
    if (replicas !== undefined || this.#handedOver.has(uid)) return;
    const { name, namespace } = object.metadata;
    const counted: AnyObject = {
      apiVersion: object.apiVersion,
      kind: object.kind,
      metadata: { name, namespace, uid },
      spec: { replicas: Math.max(1, cached["spec"].replicas) }, // An autoscaler does nothing at 0.
    };
    await this.#cluster.apply(counted, { manager: HANDOVER_MANAGER, force: true });
    this.#handedOver.add(uid);
  }

  /** Deletes objects of the Auction that are not desired any more. */
  async prune(uid: string, desired: readonly KubeObject[]): Promise<void> {
    const wanted = new Set(desired.map(idOf));
    for (const object of this.of(uid)) {
      if (wanted.has(idOf(object)) || object.metadata.deletionTimestamp) continue;
      this.#log.info({ object: idOf(object) }, "object pruned");
      await this.remove(object);
    }
  }

  async remove(object: AnyObject | KubeObject): Promise<void> {
    await this.#cluster.remove(refOf(object as AnyObject), { propagation: "Background" });
    for (const applied of this.#applied.values()) applied.delete(idOf(object));
  }

  /** For an Auction that is gone. */
  forget(uid: string): void {
    this.#applied.delete(uid);
  }
}
