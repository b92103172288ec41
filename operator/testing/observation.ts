/** A complete observation of an Auction, for tests that change one field. */
import { Value } from "typebox/value";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { auctionWith } from "../api/auction-cases.ts";
import { AuctionResource } from "../api/auction-resource.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { NO_MEMORY, type Observation } from "../control/observation.ts";
import type { OperatorSettings } from "../control/operator-settings.ts";
import type { StatusFacts } from "../control/status-facts.ts";
import type { Workload } from "../control/workload.ts";

export const NOW_MS = Date.parse("2026-12-01T19:00:00Z");

export function storedAuction(
  spec: Record<string, unknown> = {},
  metadata: Partial<StoredAuction["metadata"]> = {},
): StoredAuction {
  const auction = Value.Default(AuctionResource, auctionWith(spec)) as StoredAuction;
  return {
    ...auction,
    metadata: {
      ...auction.metadata,
      namespace: "default",
      uid: "0b4c0e5e-5d4e-4c6e-9b8b-7a2f5c1d3e4f",
      generation: 3,
      ...metadata,
    },
  };
}

export const state = (changes: Partial<ArchivalState> = {}): ArchivalState => ({
  phase: "serving",
  redis: true,
  nats: true,
  postgres: true,
  active: true,
  rulesHash: "hash-1",
  opensAtMs: NOW_MS - 60_000,
  pendingBytes: 0,
  maxPendingBytes: 1_000_000,
  keysFull: false,
  memoryShortage: null,
  relayedId: "1000-0",
  archivedId: "1000-0",
  archiveLagMs: 0,
  deadLetters: 0,
  refusals: {},
  nowMs: NOW_MS,
  lots: { total: 2, scheduled: 0, open: 2, closed: 0, sold: 0, unsold: 0, withdrawn: 0 },
  closesAtMs: NOW_MS + 60_000,
  extensions: 1,
  bidsAccepted: 7,
  suspended: false,
  fencedId: null,
  lastId: "1000-0",
  verified: null,
  durability: { keeps: "yes", settings: [] },
  cleaned: false,
  refusedRules: null,
  ...changes,
});

export const workload = (changes: Partial<Workload> = {}): Workload => ({
  desired: 2,
  ready: 2,
  updated: 2,
  current: 2,
  observed: true,
  deadlineExceeded: null,
  image: "gavel:1",
  revision: "r1",
  ...changes,
});

export function statusFacts(changes: Partial<StatusFacts> = {}): StatusFacts {
  return {
    auction: storedAuction(),
    previous: {},
    nowMs: NOW_MS,
    operatorVersion: "0.1.0",
    workloads: {
      gateway: workload(),
      broadcast: workload(),
      archival: workload({ desired: 1, ready: 1, updated: 1, current: 1 }),
    },
    probe: { state: state(), misses: 0, why: "" },
    scale: "full",
    rulesHash: "hash-1",
    rulesRefusalReason: null,
    obstacle: null,
    secretHashes: {},
    held: {},
    drain: null,
    annotations: { paused: false, dryRun: false },
    endpoints: { bids: "http://a", stream: "ws://a/v1/stream", page: "http://a/" },
    ...changes,
  };
}

export const SETTINGS: OperatorSettings = {
  version: "0.1.0",
  images: { gavel: "gavel:1", redis: "redis:7", nats: "nats:2", postgres: "postgres:16" },
  storeUsers: { redis: 999, nats: 1000, postgres: 999 },
  imagePullPolicy: "IfNotPresent",
  operator: {
    namespace: "gavel-system",
    podLabels: { "app.kubernetes.io/name": "gavel-operator" },
  },
  otlpEndpoint: null,
};

export function observation(changes: Partial<Observation> = {}): Observation {
  const { auction, nowMs, workloads, probe } = statusFacts();
  return {
    auction,
    nowMs,
    secrets: {
      credentials: {
        tokenSecret: "token-secret",
        operatorToken: "operator-token",
        redisPassword: "redis-password",
        natsPassword: "nats-password",
        postgresPassword: "postgres-password",
      },
      reserves: new Map(),
      hashes: {},
      external: {},
      obstacle: null,
    },
    serves: { podMonitor: false, httpRoute: false },
    children: [],
    workloads,
    probe,
    isNamespaceTerminating: false,
    memory: NO_MEMORY,
    ...changes,
  };
}
