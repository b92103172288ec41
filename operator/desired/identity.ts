/** Names, labels and owners of the objects of an Auction. */
import { API_VERSION, KIND } from "../api/auction-resource.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Component } from "../api/components.ts";
import type { KubeObject } from "./kube-object.ts";

const MANAGED_BY = "gavel-operator";

/** `auction` is for objects of no single component: policies of all pods, exposure. */
type ComponentLabel = Component | "auction";

export const NAME_LABEL = "gavel.dev/name";
export const UID_LABEL = "gavel.dev/uid";
export const COMPONENT_LABEL = "gavel.dev/component";

/** `<auction>-<suffix>`. At most 40 + 23 characters: a DNS label may have 63. */
export function childName(auction: StoredAuction, suffix: string): string {
  return `${auction.metadata.name}-${suffix}`;
}

/** The DNS name of a Service, valid in every namespace of the cluster. */
export function hostOf(auction: StoredAuction, suffix: string): string {
  return `${childName(auction, suffix)}.${auction.metadata.namespace}`;
}

export function labelsOf(
  auction: StoredAuction,
  component: ComponentLabel,
): Record<string, string> {
  const { name, uid } = auction.metadata;
  return {
    "app.kubernetes.io/name": "gavel",
    "app.kubernetes.io/instance": name,
    "app.kubernetes.io/component": component,
    "app.kubernetes.io/part-of": "gavel",
    "app.kubernetes.io/managed-by": MANAGED_BY,
    [NAME_LABEL]: name,
    [UID_LABEL]: uid,
    [COMPONENT_LABEL]: component,
  };
}

/** Selectors are immutable, so they contain only labels that never change. */
export function selectorOf(auction: StoredAuction, component: Component): Record<string, string> {
  return { [NAME_LABEL]: auction.metadata.name, [COMPONENT_LABEL]: component };
}

type Metadata = KubeObject["metadata"];

/** Metadata of an object that the garbage collector removes with the Auction. */
export function ownedMetadata(
  auction: StoredAuction,
  suffix: string,
  component: ComponentLabel,
): Metadata {
  const { name, uid } = auction.metadata;
  const owner = { apiVersion: API_VERSION, kind: KIND, name, uid };
  return {
    ...keptMetadata(auction, suffix, component),
    ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: false }],
  };
}

/**
 * Metadata of an object that the drain needs. It has no owner, so that a foreground deletion does not remove
 * it. The finalizer removes it last.
 */
export function keptMetadata(
  auction: StoredAuction,
  suffix: string,
  component: ComponentLabel,
): Metadata {
  return {
    name: childName(auction, suffix),
    namespace: auction.metadata.namespace,
    labels: labelsOf(auction, component),
  };
}

/**
 * The garbage collector removes gateway and broadcast. Archival, the stores and everything that their pods
 * need are kept until the archive is proven complete.
 */
export function metadataOf(auction: StoredAuction, suffix: string, component: Component): Metadata {
  const isOwned = component === "gateway" || component === "broadcast";
  return (isOwned ? ownedMetadata : keptMetadata)(auction, suffix, component);
}

/** Whether the garbage collector removes the object. If not, the finalizer does. */
export function ownedByGc(object: KubeObject): boolean {
  return (object.metadata.ownerReferences ?? []).length > 0;
}
