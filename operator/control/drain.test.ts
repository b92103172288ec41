import { expect, test } from "vitest";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { decideDrain, type DrainFacts, FORCE_RELEASE, isTimedOut, hasReached } from "./drain.ts";
import { NOW_MS, state, storedAuction, workload } from "../testing/observation.ts";

const verified = { atMs: NOW_MS, ok: true, lots: 2, events: 20, differences: [] };
const differs = { ...verified, ok: false, differences: ["lot a: 3 rows of 4"] };

const auction = (deletion: object = {}, status: object = {}, metadata: object = {}) => ({
  ...storedAuction({ deletion }, { deletionTimestamp: "2026-12-01T19:00:00Z", ...metadata }),
  status: { rules: { publishedHash: "hash-1" }, ...status },
});

const facts = (
  changes: Partial<DrainFacts> = {},
  reported: Partial<ArchivalState> = {},
): DrainFacts => ({
  auction: auction(),
  workloads: { gateway: workload(), broadcast: workload(), archival: workload() },
  state: state(reported),
  startedAtMs: NOW_MS,
  nowMs: NOW_MS,
  isNamespaceTerminating: false,
  ...changes,
});

const withoutBroadcast = { gateway: workload(), archival: workload() };
const proven = { fencedId: "9-0", archivedId: "9-0", relayedId: "9-0", verified };

test.each<[string, DrainFacts, string, string]>([
  ["nothing is fenced", facts(), "StopIntake", "fence"],
  [
    "the outbox is not relayed",
    facts({}, { fencedId: "9-1", relayedId: "9-0", archivedId: "8-0" }),
    "FlushOutbox",
    "wait",
  ],
  [
    "the stream is not archived",
    facts({}, { fencedId: "9-1", relayedId: "9-1", archivedId: "9-0" }),
    "DrainStream",
    "wait",
  ],
  [
    "everything is archived and nothing is compared",
    facts({}, { fencedId: "9-1", relayedId: "9-1", archivedId: "9-1" }),
    "Verify",
    "verify",
  ],
  ["the archive differs", facts({}, { ...proven, verified: differs }), "Verify", "verify"],
  ["the archive is complete", facts({}, proven), "CloseBroadcast", "close-viewers"],
  ["no viewer is connected", facts({ workloads: withoutBroadcast }, proven), "Cleanup", "clean"],
  [
    "archival cleaned up",
    facts({ workloads: withoutBroadcast }, { ...proven, cleaned: true, rulesHash: null }),
    "Cleanup",
    "complete",
  ],
  [
    "the operator was killed after archival was deleted",
    facts({
      state: null,
      workloads: {},
      auction: auction({}, { drain: { step: "Cleanup" }, archive: { fencedId: "9-0" } }),
    }),
    "Cleanup",
    "complete",
  ],
  ["archival does not answer", facts({ state: null }), "StopIntake", "wait"],
  [
    "archival has not answered for 30 s",
    facts({ state: null, nowMs: NOW_MS + 30_000 }),
    "StopIntake",
    "stop-intake",
  ],
  [
    "archival stopped answering after the fence",
    facts({
      state: null,
      nowMs: NOW_MS + 30_000,
      auction: auction({}, { drain: { step: "DrainStream" }, archive: { fencedId: "9-0" } }),
    }),
    "DrainStream",
    "wait",
  ],
  [
    "the stores never had the auction",
    facts({ auction: auction({}, { rules: {} }), workloads: {}, state: null }),
    "Cleanup",
    "complete",
  ],
  [
    "the store has no rules",
    facts({ auction: auction({}, { rules: {} }) }, { rulesHash: null, lots: null }),
    "Cleanup",
    "complete",
  ],
  [
    "Redis does not answer, so accepted bids are unknown",
    facts({ auction: auction({}, { rules: {} }) }, { redis: false, rulesHash: null, lots: null }),
    "StopIntake",
    "fence",
  ],
  [
    "the policy is Abandon",
    facts({ auction: auction({ policy: "Abandon" }) }),
    "StopIntake",
    "fence",
  ],
  [
    "the policy is Abandon and intake is fenced",
    facts(
      { auction: auction({ policy: "Abandon" }), workloads: withoutBroadcast },
      { fencedId: "9-0" },
    ),
    "Cleanup",
    "clean",
  ],
  [
    "a release is forced",
    facts({
      auction: auction({}, {}, { annotations: { [FORCE_RELEASE]: storedAuction().metadata.uid } }),
    }),
    "Cleanup",
    "release",
  ],
  [
    "a release of another Auction is forced",
    facts({ auction: auction({}, {}, { annotations: { [FORCE_RELEASE]: "other" } }) }),
    "StopIntake",
    "fence",
  ],
  [
    "the namespace has been terminating for a minute",
    facts({ isNamespaceTerminating: true, nowMs: NOW_MS + 60_000 }),
    "StopIntake",
    "release",
  ],
  ["the namespace is terminating", facts({ isNamespaceTerminating: true }), "StopIntake", "fence"],
  [
    "drainTimeout has passed and onTimeout is Release",
    facts({ auction: auction({ onTimeout: "Release" }), nowMs: NOW_MS + 600_000 }),
    "StopIntake",
    "release",
  ],
  [
    "drainTimeout has passed and onTimeout is Hold",
    facts({ nowMs: NOW_MS + 600_000 }),
    "StopIntake",
    "fence",
  ],
])("when %s", (_when, given, step, action) => {
  expect(decideDrain(given)).toMatchObject({ step, action });
});

test("a held drain is reported as timed out, and continues", () => {
  expect(isTimedOut(facts({ nowMs: NOW_MS + 599_999 }))).toBe(false);
  expect(isTimedOut(facts({ nowMs: NOW_MS + 600_000 }))).toBe(true);
  const release = auction({ onTimeout: "Release" });
  expect(isTimedOut(facts({ auction: release, nowMs: NOW_MS + 600_000 }))).toBe(false);
});

test("outbox ids are compared as numbers", () => {
  expect(hasReached("1000-9", "1000-10")).toBe(false);
  expect(hasReached("1000-10", "1000-9")).toBe(true);
  expect(hasReached("999-0", "1000-0")).toBe(false);
  expect(hasReached(null, "0-0")).toBe(true);
  expect(hasReached(null, "1-0")).toBe(false);
});
