/** What is known of an Auction when it is reconciled. `observe()` gathers it; it contains no decision. */
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { DesiredInputs, Credentials } from "../desired/inputs.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Workloads } from "./workload.ts";

export interface Observation {
  readonly auction: StoredAuction;
  readonly nowMs: number;
  readonly secrets: AuctionSecrets;
  /** Which optional kinds the cluster serves. */
  readonly serves: DesiredInputs["serves"];
  /** The objects that were made for the Auction, as the watch caches have them. */
  readonly children: readonly AnyObject[];
  readonly workloads: Workloads;
  readonly probe: Probe;
  /** Read only while the Auction is being deleted; false before. */
  readonly isNamespaceTerminating: boolean;
  readonly memory: Memory;
}

/** What archival last reported. */
export interface Probe {
  /** Null until the first answer. Kept while archival does not answer. */
  readonly state: ArchivalState | null;
  /** Consecutive probes without an answer. */
  readonly misses: number;
  /** Why the last probe had no answer. */
  readonly why: string;
}

/** What the operator remembers of one Auction from one reconcile to the next. All of it may be lost. */
export interface Memory {
  readonly probe: Probe;
  /** Rules that the store refused. They are not published again. */
  readonly rulesRefusal: { readonly hash: string; readonly why: string } | null;
  readonly statusWrittenAtMs: number;
  readonly verifyTriedAtMs: number;
}

export const NO_MEMORY: Memory = {
  probe: { state: null, misses: 0, why: "not probed yet" },
  rulesRefusal: null,
  statusWrittenAtMs: 0,
  verifyTriedAtMs: 0,
};

/** The Secrets of an Auction: those the operator made, and those that the spec names. */
export interface AuctionSecrets {
  readonly credentials: Credentials;
  /** The reserves of lots with a `reserveFrom`, by lot id. */
  readonly reserves: ReadonlyMap<string, number>;
  readonly hashes: SecretHashes;
  /** Addresses of External stores. */
  readonly external: NonNullable<DesiredInputs["external"]>;
  /** The first Secret that is missing or invalid. */
  readonly obstacle: Obstacle | null;
}

/** Hashes of the Secrets of External stores. */
export type SecretHashes = Readonly<Partial<Record<"redis" | "nats" | "postgres", string>>>;

/** Why an Auction cannot run as specified, and how to fix it. */
export interface Obstacle {
  readonly reason: "SecretNotFound" | "InvalidSpec" | "ApplyRefused";
  readonly message: string;
}
