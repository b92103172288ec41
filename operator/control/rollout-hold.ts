/**
 * The rollout hold (updatePolicy WhenIdle): while the auction is open, pods keep their template, even if the
 * spec or the operator's version has changed. The template in use is stored as a ControllerRevision, so that
 * drift is still corrected. Pure.
 */
import type { Component } from "../api/components.ts";
import type { KubeObject } from "../desired/kube-object.ts";
import { revisionOf, withPodTemplate } from "../desired/pod-template.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { COMPONENT_LABEL } from "../desired/identity.ts";
import { REVISION_ANNOTATION } from "../desired/pod-template.ts";

type Template = Parameters<typeof withPodTemplate>[1];

export interface HeldTemplates {
  /** The desired objects, with the template in use where it is held, and a revision for each template. */
  readonly objects: KubeObject[];
  /** The revisions that are held back. */
  readonly held: Readonly<Partial<Record<Component, string>>>;
}

/** @param children the Auction's present objects */
export function holdTemplates(
  desired: readonly KubeObject[],
  children: readonly AnyObject[],
  isHolding: boolean,
): HeldTemplates {
  const held: Partial<Record<Component, string>> = {};
  const revisions: KubeObject[] = [];
  const objects = desired.map((object) => {
    const template = templateOf(object);
    if (template === null) return object;
    const component = object.metadata.labels[COMPONENT_LABEL] as Component;
    const wanted = revisionOf(template);
    const inUse = isHolding ? templateInUse(children, object) : null;
    const isHeld = inUse !== null && inUse.revision !== wanted;
    if (isHeld) held[component] = wanted;
    const current = isHeld ? inUse : { template, revision: wanted };
    revisions.push(revisionObject(object, current.template, current.revision));
    return isHeld ? withPodTemplate(object, inUse.template) : object;
  });
  return { objects: [...revisions, ...objects], held };
}

function templateOf(object: KubeObject): Template | null {
  if (object.kind !== "Deployment" && object.kind !== "StatefulSet") return null;
  return (object["spec"] as { template: Template }).template;
}

function revisionObject(workload: KubeObject, template: Template, revision: string): KubeObject {
  const { name, namespace, labels, ownerReferences } = workload.metadata;
  return {
    apiVersion: KINDS.ControllerRevision.apiVersion,
    kind: KINDS.ControllerRevision.kind,
    metadata: {
      name: `${name}-${revision}`,
      namespace,
      labels,
      annotations: { [REVISION_ANNOTATION]: revision },
      ...(ownerReferences ? { ownerReferences } : {}),
    },
    data: template,
    revision: 1,
  };
}

/** The template that the workload names by its annotation; if somebody changed that, the newest stored one. */
function templateInUse(children: readonly AnyObject[], object: KubeObject) {
  const component = object.metadata.labels[COMPONENT_LABEL];
  const stored = children
    .filter(({ kind, metadata }) => {
      return kind === "ControllerRevision" && metadata.labels?.[COMPONENT_LABEL] === component;
    })
    .sort((a, b) => (a.metadata.creationTimestamp! < b.metadata.creationTimestamp! ? 1 : -1));
  const live = children.find(
    ({ kind, metadata }) => kind === object.kind && metadata.name === object.metadata.name,
  );
  const used = live?.["spec"].template.metadata?.annotations?.[REVISION_ANNOTATION];
  const found = stored.find(({ metadata }) => revisionStored(metadata) === used) ?? stored[0];
  if (found === undefined) return null;
  return { template: found["data"] as Template, revision: revisionStored(found.metadata)! };
}

function revisionStored(metadata: AnyObject["metadata"]): string | undefined {
  return metadata.annotations?.[REVISION_ANNOTATION];
}
