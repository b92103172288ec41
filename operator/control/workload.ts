/** The state of a Deployment or StatefulSet, as its Auction's status needs it. Pure. */
import type { Component } from "../api/components.ts";
import { COMPONENT_LABEL } from "../desired/identity.ts";
import { REVISION_ANNOTATION } from "../desired/pod-template.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";

export interface Workload {
  readonly desired: number;
  readonly ready: number;
  readonly updated: number;
  /** Existing pods of any template, terminating ones not counted. */
  readonly current: number;
  /** Whether its controller has processed the current spec. */
  readonly observed: boolean;
  /** The message of ProgressDeadlineExceeded, if its rollout is stuck. */
  readonly deadlineExceeded: string | null;
  readonly image: string;
  readonly revision: string;
}

export type Workloads = Readonly<Partial<Record<Component, Workload>>>;

/** @param children all objects of one Auction */
export function workloadsOf(children: readonly AnyObject[]): Workloads {
  const kinds: readonly string[] = [KINDS.Deployment.kind, KINDS.StatefulSet.kind];
  return Object.fromEntries(
    children
      .filter(({ kind }) => kinds.includes(kind))
      .map((child) => [child.metadata.labels?.[COMPONENT_LABEL], workloadOf(child)]),
  );
}

function workloadOf({ metadata, spec, status = {} }: AnyObject): Workload {
  const exceeded = (status.conditions ?? []).find(
    (condition: { type: string; reason?: string }) =>
      condition.type === "Progressing" && condition.reason === "ProgressDeadlineExceeded",
  );
  return {
    desired: spec.replicas ?? 1,
    ready: status.readyReplicas ?? 0,
    updated: status.updatedReplicas ?? 0,
    current: status.replicas ?? 0,
    observed: (status.observedGeneration ?? 0) >= (metadata.generation ?? 0),
    deadlineExceeded: exceeded?.message ?? null,
    image: spec.template.spec.containers[0].image,
    revision: spec.template.metadata.annotations?.[REVISION_ANNOTATION] ?? "",
  };
}
