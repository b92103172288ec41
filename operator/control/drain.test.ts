import { expect, test } from "vitest";
import type { State } from "../../services/archival/observe/state.ts";
import { type DrainSeen, drainStep, FORCE_RELEASE, isTimedOut, isUpTo } from "./drain.ts";
import { NOW_MS, state, storedAuction, workload } from "../testing/observation.ts";

const verified = { atMs: NOW_MS, ok: true, lots: 2, events: 20, differences: [] };
const differs = { ...verified, ok: false, differences: ["lot a: 3 rows of 4"] };

const auction = (deletion: object = {}, status: object = {}, metadata: object = {}) => ({
  ...storedAuction({ deletion }, { deletionTimestamp: "2026-12-01T19:00:00Z", ...metadata }),
  status: { rules: { publishedHash: "hash-1" }, ...status },
});

const seen = (parts: Partial<DrainSeen> = {}, reported: Partial<State> = {}): DrainSeen => ({
  auction: auction(),
  workloads: { gateway: workload(), broadcast: workload(), archival: workload() },
  state: state(reported),
  startedAtMs: NOW_MS,
  nowMs: NOW_MS,
  namespaceEnds: false,
  ...parts,
});

const gone = { gateway: workload(), archival: workload() };
const proven = { fencedId: "9-0", archivedId: "9-0", relayedId: "9-0", verified };

test.each<[string, DrainSeen, string, string]>([
  ["nothing is fenced", seen(), "StopIntake", "fence"],
  [
    "the outbox is not relayed",
    seen({}, { fencedId: "9-1", relayedId: "9-0", archivedId: "8-0" }),
    "FlushOutbox",
    "wait",
  ],
  [
    "the stream is not archived",
    seen({}, { fencedId: "9-1", relayedId: "9-1", archivedId: "9-0" }),
    "DrainStream",
    "wait",
  ],
  [
    "all is archived, and not compared",
    seen({}, { fencedId: "9-1", relayedId: "9-1", archivedId: "9-1" }),
    "Verify",
    "verify",
  ],
  ["the archive differs", seen({}, { ...proven, verified: differs }), "Verify", "verify"],
  ["the archive is complete", seen({}, proven), "CloseBroadcast", "close-viewers"],
  ["viewers are gone", seen({ workloads: gone }, proven), "Cleanup", "clean"],
  [
    "archival cleaned up",
    seen({ workloads: gone }, { ...proven, cleaned: true, rulesHash: null }),
    "Cleanup",
    "let-go",
  ],
  [
    "the operator was killed after archival went",
    seen({
      state: null,
      workloads: {},
      auction: auction({}, { drain: { step: "Cleanup" }, archive: { fencedId: "9-0" } }),
    }),
    "Cleanup",
    "let-go",
  ],
  ["archival does not answer", seen({ state: null }), "StopIntake", "wait"],
  [
    "archival does not answer for long",
    seen({ state: null, nowMs: NOW_MS + 30_000 }),
    "StopIntake",
    "stop-intake",
  ],
  [
    "archival went away after the fence",
    seen({
      state: null,
      nowMs: NOW_MS + 30_000,
      auction: auction({}, { drain: { step: "DrainStream" }, archive: { fencedId: "9-0" } }),
    }),
    "DrainStream",
    "wait",
  ],
  [
    "nothing was ever set up",
    seen({ auction: auction({}, { rules: {} }), workloads: {}, state: null }),
    "Cleanup",
    "let-go",
  ],
  [
    "the stores were never reached",
    seen({ auction: auction({}, { rules: {} }) }, { rulesHash: null, lots: null }),
    "Cleanup",
    "let-go",
  ],
  [
    "Redis does not answer, and it is not known what was taken",
    seen({ auction: auction({}, { rules: {} }) }, { redis: false, rulesHash: null, lots: null }),
    "StopIntake",
    "fence",
  ],
  ["it is abandoned", seen({ auction: auction({ policy: "Abandon" }) }), "StopIntake", "fence"],
  [
    "it is abandoned and fenced",
    seen({ auction: auction({ policy: "Abandon" }), workloads: gone }, { fencedId: "9-0" }),
    "Cleanup",
    "clean",
  ],
  [
    "it is released by force",
    seen({
      auction: auction({}, {}, { annotations: { [FORCE_RELEASE]: storedAuction().metadata.uid } }),
    }),
    "Cleanup",
    "release",
  ],
  [
    "somebody asks to force another Auction",
    seen({ auction: auction({}, {}, { annotations: { [FORCE_RELEASE]: "other" } }) }),
    "StopIntake",
    "fence",
  ],
  [
    "the namespace ends and a minute passed",
    seen({ namespaceEnds: true, nowMs: NOW_MS + 60_000 }),
    "StopIntake",
    "release",
  ],
  ["the namespace ends", seen({ namespaceEnds: true }), "StopIntake", "fence"],
  [
    "drainTimeout is over, and it may be released",
    seen({ auction: auction({ onTimeout: "Release" }), nowMs: NOW_MS + 600_000 }),
    "StopIntake",
    "release",
  ],
  [
    "drainTimeout is over, and it is held",
    seen({ nowMs: NOW_MS + 600_000 }),
    "StopIntake",
    "fence",
  ],
])("when %s", (_when, parts, step, action) => {
  expect(drainStep(parts)).toMatchObject({ step, action });
});

test("a drain that is held past its time is told, and goes on", () => {
  expect(isTimedOut(seen({ nowMs: NOW_MS + 599_999 }))).toBe(false);
  expect(isTimedOut(seen({ nowMs: NOW_MS + 600_000 }))).toBe(true);
  const release = auction({ onTimeout: "Release" });
  expect(isTimedOut(seen({ auction: release, nowMs: NOW_MS + 600_000 }))).toBe(false);
});

test("outbox ids are compared as numbers", () => {
  expect(isUpTo("1000-9", "1000-10")).toBe(false);
  expect(isUpTo("1000-10", "1000-9")).toBe(true);
  expect(isUpTo("999-0", "1000-0")).toBe(false);
  expect(isUpTo(null, "0-0")).toBe(true);
  expect(isUpTo(null, "1-0")).toBe(false);
});
