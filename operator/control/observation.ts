/** Everything that a status is computed from. The reconciler gathers it; nothing here asks anybody. */
import type { State } from "../../services/archival/observe/state.ts";
import type { AuctionStatus, DrainStep } from "../api/auction-status.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Component } from "../api/components.ts";
import type { Scale } from "../desired/context.ts";

/** What is left of a Deployment or StatefulSet once it is read. */
export interface Workload {
  /** What it was told to run; null where an autoscaler says it. */
  readonly desired: number;
  readonly ready: number;
  readonly updated: number;
  /** Pods of any template that are there, being ended ones not counted. */
  readonly current: number;
  /** Whether its controller has looked at what it was last told. */
  readonly observed: boolean;
  /** Why it will not come up without help, as its controller says. */
  readonly deadlineExceeded: string | null;
  readonly image: string;
  readonly revision: string;
}

export type Workloads = Readonly<Partial<Record<Component, Workload>>>;

/** What archival last said. */
export interface Probe {
  /** Null until it first answered. */
  readonly state: State | null;
  /** How often in a row it did not answer. */
  readonly misses: number;
  /** Why the last question had no answer. */
  readonly why: string;
}

/** Why an Auction cannot be run as it stands, and what to do about it. */
export interface Obstacle {
  readonly reason: "SecretNotFound" | "InvalidSpec" | "ApplyRefused";
  readonly message: string;
}

/** What a Secret of an External store is at present. */
export type SecretHashes = Readonly<Partial<Record<"redis" | "nats" | "postgres", string>>>;

export interface Drain {
  readonly step: DrainStep;
  readonly startedAtMs: number;
  readonly message: string;
  /** Past the time that spec.deletion allows, and held. */
  readonly timedOut: boolean;
}

export interface Seen {
  readonly auction: StoredAuction;
  readonly previous: AuctionStatus;
  readonly nowMs: number;
  readonly operatorVersion: string;
  readonly workloads: Workloads;
  readonly probe: Probe;
  readonly scale: Scale;
  /** Of the rules that the spec asks for; null while they cannot be made. */
  readonly rulesHash: string | null;
  /** Why the store did not take the last rules. */
  readonly rulesRefused: string | null;
  readonly obstacle: Obstacle | null;
  readonly secretHashes: SecretHashes;
  /** Revisions that updatePolicy holds back. */
  readonly held: Readonly<Partial<Record<Component, string>>>;
  readonly drain: Drain | null;
  readonly annotations: { readonly paused: boolean; readonly dryRun: boolean };
  readonly endpoints: { readonly bids: string; readonly stream: string; readonly page: string };
}

/** How often archival may fail to answer before what it said is no longer believed. */
export const MISSES_MAX = 3;

/** What archival says, where it is recent enough to go by. */
export function believed({ probe }: Seen): State | null {
  return probe.misses < MISSES_MAX ? probe.state : null;
}
