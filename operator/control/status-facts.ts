/** Everything that a status is computed from: what was observed, and what the plan decided. */
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { AuctionStatus, DrainStep } from "../api/auction-status.ts";
import type { Component } from "../api/components.ts";
import type { Scale } from "../desired/inputs.ts";
import type { Obstacle, Probe, SecretHashes } from "./observation.ts";
import type { Workloads } from "./workload.ts";

export interface StatusFacts {
  readonly auction: StoredAuction;
  readonly previous: AuctionStatus;
  readonly nowMs: number;
  readonly operatorVersion: string;
  readonly workloads: Workloads;
  readonly probe: Probe;
  readonly secretHashes: SecretHashes;
  readonly endpoints: { readonly bids: string; readonly stream: string; readonly page: string };
  /** The hash of the rules that the spec defines; null while a Secret that they need is missing. */
  readonly rulesHash: string | null;
  /** Why the store refused these rules. */
  readonly rulesRefusalReason: string | null;
  readonly scale: Scale;
  readonly obstacle: Obstacle | null;
  /** Revisions that the rollout hold keeps back. */
  readonly held: Readonly<Partial<Record<Component, string>>>;
  readonly drain: Drain | null;
  readonly annotations: { readonly paused: boolean; readonly dryRun: boolean };
}

export interface Drain {
  readonly step: DrainStep;
  readonly startedAtMs: number;
  readonly message: string;
  /** Whether it takes longer than spec.deletion.drainTimeout, with onTimeout Hold. */
  readonly timedOut: boolean;
}

/** After so many probes without an answer, archival's last report is no longer used. */
const MISSES_MAX = 3;

/** Archival's last report, if it is recent enough. */
export function recentState({ probe }: Pick<StatusFacts, "probe">): ArchivalState | null {
  return probe.misses < MISSES_MAX ? probe.state : null;
}
