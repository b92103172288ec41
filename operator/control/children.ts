/** The objects of an Auction: brought to what is desired, and put back when somebody changes them. */
import { createHash } from "node:crypto";
import type { Logger } from "../../services/runtime/log.ts";
import type { Cluster } from "../kube/client.ts";
import type { KubeObject } from "../desired/kube-object.ts";
import { UID_LABEL } from "../desired/identity.ts";
import { REVISION_ANNOTATION } from "../desired/pod-template.ts";
import { type AnyObject, keyOf, KINDS, refOf, type ServedKind } from "../kube/object.ts";

/** Who sends what `desired()` says. */
export const MANAGER = "gavel-operator";
/** Who holds `replicas` while an autoscaler has not said it yet. */
const HANDOVER_MANAGER = "gavel-operator-handover";

export const CHILDREN_SELECTOR = "app.kubernetes.io/managed-by=gavel-operator";

/** What is watched. Secrets are not: the operator may not list them. */
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

/** Objects of one Auction that are sent at the same time. */
const AT_ONCE = 4;

/** What is not watched is applied again so often, changed or not. */
const UNWATCHED_MS = 60_000;

/** What is known of one kind, of all namespaces that are watched. */
export interface Cache {
  get(key: string): AnyObject | undefined;
  byLabel(label: string, value: string): readonly AnyObject[];
  all(): readonly AnyObject[];
}

/** By kind. */
export type Caches = ReadonlyMap<string, Cache>;

interface Applied {
  /** Of what was sent. */
  readonly sent: string;
  /** Of what the server kept of it. */
  readonly kept: string;
  readonly atMs: number;
}

const hash = (value: unknown) =>
  createHash("sha256").update(JSON.stringify(value)).digest("base64url");

/** All that a writer could have changed: not the status, nor what the server notes of its own. */
function fingerprint({ metadata, status: _status, ...rest }: AnyObject): string {
  const { name, namespace, labels, ownerReferences } = metadata;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(
    ([key]) => !key.startsWith("deployment.kubernetes.io/"),
  );
  return hash([name, namespace, labels, ownerReferences, annotations.sort(), rest]);
}

const idOf = (object: KubeObject | AnyObject) => `${object.kind}/${keyOf(object)}`;

/** A StatefulSet's controller keeps revisions of its own, with the labels of the pods. */
function isOurs({ kind, metadata }: AnyObject): boolean {
  return kind !== "ControllerRevision" || metadata.annotations?.[REVISION_ANNOTATION] !== undefined;
}

export class Children {
  readonly #cluster: Cluster;
  readonly #caches: Caches;
  readonly #log: Logger;
  readonly #applied = new Map<string, Map<string, Applied>>();
  /** Deployments whose count was left to an autoscaler. */
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
   * Sends what differs from what was sent before, and what somebody else changed since.
   * @throws ApiError of the first that was refused; the others were sent nevertheless
   */
  async apply(uid: string, objects: readonly KubeObject[], dryRun = false): Promise<void> {
    const applied = this.#applied.get(uid) ?? new Map<string, Applied>();
    this.#applied.set(uid, applied);
    let failed: unknown = null;
    const waiting = objects.filter((object) => !this.#isAsSent(object, applied));
    const applyNext = async () => {
      for (let object = waiting.shift(); object !== undefined; object = waiting.shift()) {
        try {
          await this.#applyOne(object, applied, dryRun);
        } catch (error) {
          failed ??= error;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, applyNext));
    if (failed !== null) throw failed;
  }

  #isAsSent(object: KubeObject, applied: ReadonlyMap<string, Applied>): boolean {
    const before = applied.get(idOf(object));
    if (before?.sent !== hash(object)) return false;
    const cached = this.#cached(object);
    if (cached === undefined) return Date.now() - before.atMs < UNWATCHED_MS;
    return cached !== null && fingerprint(cached) === before.kept;
  }

  async #applyOne(
    object: KubeObject,
    applied: Map<string, Applied>,
    dryRun: boolean,
  ): Promise<void> {
    await this.#handOver(object, this.#cached(object) ?? null, dryRun);
    const body = object as unknown as AnyObject;
    const kept = await this.#cluster.apply(body, { manager: MANAGER, force: true, dryRun });
    if (dryRun) return;
    const now = { sent: hash(object), kept: fingerprint(kept), atMs: Date.now() };
    applied.set(idOf(object), now);
  }

  /**
   * A field that its only manager stops sending falls back to its default: to one pod, here. So the count
   * is sent once more by another manager, which never sends it again.
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
      spec: { replicas: Math.max(1, cached["spec"].replicas) }, // At 0 an autoscaler does nothing.
    };
    await this.#cluster.apply(counted, { manager: HANDOVER_MANAGER, force: true });
    this.#handedOver.add(uid);
  }

  /** Deletes what was made for this Auction and is desired no more. */
  async prune(uid: string, keep: readonly KubeObject[]): Promise<void> {
    const kept = new Set(keep.map(idOf));
    for (const object of this.of(uid)) {
      if (kept.has(idOf(object)) || object.metadata.deletionTimestamp) continue;
      this.#log.info({ object: idOf(object) }, "not desired any more: deleted");
      await this.remove(object);
    }
  }

  async remove(object: AnyObject | KubeObject): Promise<void> {
    await this.#cluster.remove(refOf(object as AnyObject), { propagation: "Background" });
    for (const applied of this.#applied.values()) applied.delete(idOf(object));
  }

  /** The Auction is gone. */
  forget(uid: string): void {
    this.#applied.delete(uid);
  }
}
