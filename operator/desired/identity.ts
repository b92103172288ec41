/** How the objects of an Auction are called and labelled, and which of them the garbage collector removes. */
import { API_VERSION, KIND } from "../api/auction-resource.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Component } from "../api/components.ts";
import type { KubeObject } from "./kube-object.ts";

const MANAGED_BY = "gavel-operator";

/** What belongs to no one component: policies of all pods, exposure. */
type Part = Component | "auction";

export const NAME_LABEL = "gavel.dev/name";
export const UID_LABEL = "gavel.dev/uid";
export const COMPONENT_LABEL = "gavel.dev/component";

/** `<auction>-<suffix>`: at most 40 + 23 characters, as a DNS label may have 63. */
export function childName(auction: StoredAuction, suffix: string): string {
  return `${auction.metadata.name}-${suffix}`;
}

/** The name of a Service inside the cluster, whichever namespace asks. */
export function hostOf(auction: StoredAuction, suffix: string): string {
  return `${childName(auction, suffix)}.${auction.metadata.namespace}`;
}

export function labelsOf(auction: StoredAuction, part: Part): Record<string, string> {
  const { name, uid } = auction.metadata;
  return {
    "app.kubernetes.io/name": "gavel",
    "app.kubernetes.io/instance": name,
    "app.kubernetes.io/component": part,
    "app.kubernetes.io/part-of": "gavel",
    "app.kubernetes.io/managed-by": MANAGED_BY,
    [NAME_LABEL]: name,
    [UID_LABEL]: uid,
    [COMPONENT_LABEL]: part,
  };
}

/** Selectors can never be changed: they hold what never changes of an Auction. */
export function selectorOf(auction: StoredAuction, component: Component): Record<string, string> {
  return { [NAME_LABEL]: auction.metadata.name, [COMPONENT_LABEL]: component };
}

type Metadata = KubeObject["metadata"];

/** Of an object that goes with the Auction by itself. */
export function ownedMetadata(auction: StoredAuction, suffix: string, part: Part): Metadata {
  const { name, uid } = auction.metadata;
  const owner = { apiVersion: API_VERSION, kind: KIND, name, uid };
  return {
    ...keptMetadata(auction, suffix, part),
    ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: false }],
  };
}

/**
 * Of an object that the drain needs: without an owner, so that a deletion in the foreground leaves it
 * to the finalizer, which removes it last.
 */
export function keptMetadata(auction: StoredAuction, suffix: string, part: Part): Metadata {
  return {
    name: childName(auction, suffix),
    namespace: auction.metadata.namespace,
    labels: labelsOf(auction, part),
  };
}

/**
 * Gateway and broadcast go with the Auction. Archival and the stores, with all that their pods need,
 * stay until the archive is proven complete.
 */
export function metadataOf(auction: StoredAuction, suffix: string, component: Component): Metadata {
  const goesAlone = component === "gateway" || component === "broadcast";
  return (goesAlone ? ownedMetadata : keptMetadata)(auction, suffix, component);
}

/** False: the finalizer removes it. */
export function ownedByGc(object: KubeObject): boolean {
  return (object.metadata.ownerReferences ?? []).length > 0;
}
