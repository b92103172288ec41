import { expect, test } from "vitest";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { type AuctionStatus, type Phase, Status } from "../api/auction-status.ts";
import { Value } from "typebox/value";
import { phaseOf } from "./phase.ts";
import type { StatusFacts } from "./status-facts.ts";
import { COUNTERS_MS, shouldWrite, statusOf } from "./status.ts";
import { NOW_MS, state, statusFacts, storedAuction, workload } from "../testing/observation.ts";

const probing = (parts: Partial<ArchivalState>) => ({ state: state(parts), misses: 0, why: "" });
const ended = { total: 2, scheduled: 0, open: 0, closed: 2, sold: 1, unsold: 1, withdrawn: 0 };
const verified = { atMs: NOW_MS, ok: true, lots: 2, events: 20, differences: [] };

const EXTERNAL_POSTGRES = {
  postgres: { mode: "External", external: { secretRef: { name: "archive", key: "dsn" } } },
};

const REPORTED_PHASES: [Partial<ArchivalState> | null, Phase][] = [
  [null, "Pending"],
  [{ rulesHash: null, lots: null }, "Pending"],
  [{ opensAtMs: null }, "Scheduled"],
  [{ opensAtMs: NOW_MS + 1 }, "Scheduled"],
  [{}, "Open"],
  [{ suspended: true, lots: { ...ended, sold: 0 } }, "Open"],
  [{ lots: { ...ended, unsold: 0 } }, "Closing"],
  [{ lots: ended }, "Closing"],
  [{ lots: ended, fencedId: "9-0" }, "Closed"],
  [{ lots: ended, fencedId: "9-0", verified: { ...verified, ok: false } }, "Closed"],
  [{ lots: ended, fencedId: "9-0", verified }, "Settled"],
  [{ lots: null, rulesHash: null, fencedId: "9-0", verified, cleaned: true }, "Settled"],
];

test.each(REPORTED_PHASES)("a report of %j makes the phase %s", (changes, phase) => {
  expect(phaseOf(undefined, changes === null ? null : state(changes), false)).toBe(phase);
});

test("a phase never goes back, and stays while archival does not report", () => {
  for (const [changes] of REPORTED_PHASES) {
    expect(phaseOf("Settled", changes === null ? null : state(changes), false)).toBe("Settled");
  }
  expect(phaseOf("Open", null, false)).toBe("Open");
  expect(phaseOf("Open", state(), true)).toBe("Terminating");
});

const condition = (status: AuctionStatus, type: string) =>
  status.conditions?.find((one) => one.type === type);

const CONDITION_CASES: [
  string,
  Partial<StatusFacts>,
  type: string,
  status: string,
  reason: string,
  message: RegExp,
][] = [
  ["everything works", {}, "Ready", "True", "Live", /bids are taken/],
  ["everything works", {}, "AcceptingBids", "True", "DoorsOpen", /2 lots/],
  ["everything works", {}, "Degraded", "False", "AsExpected", /./],
  [
    "Postgres is unreachable in an open auction",
    { probe: probing({ postgres: false }) },
    "Ready",
    "True",
    "Live",
    /./,
  ],
  [
    "Postgres is unreachable in an open auction",
    { probe: probing({ postgres: false }) },
    "Degraded",
    "True",
    "PostgresDown",
    /bids go on/,
  ],
  [
    "Postgres is unreachable",
    { probe: probing({ postgres: false }) },
    "BackingReady",
    "False",
    "PostgresUnreachable",
    /n1-postgres-0/,
  ],
  [
    "Postgres refuses",
    {
      auction: storedAuction({ backing: EXTERNAL_POSTGRES }),
      probe: probing({ refusals: { postgres: "42501: permission denied" } }),
    },
    "BackingReady",
    "False",
    "PostgresRefuses",
    /^postgres refuses: 42501: permission denied; check the URL in key dsn of Secret archive$/,
  ],
  [
    "Postgres refuses every session",
    { probe: probing({ postgres: false, refusals: { postgres: "28P01: wrong password" } }) },
    "ArchiveCurrent",
    "False",
    "PostgresRefuses",
    /^postgres refuses: 28P01: wrong password$/,
  ],
  [
    "an External Postgres is unreachable",
    {
      auction: storedAuction({ backing: EXTERNAL_POSTGRES }),
      probe: probing({ postgres: false }),
    },
    "BackingReady",
    "False",
    "PostgresUnreachable",
    /check the URL in key dsn of Secret archive$/,
  ],
  [
    "Redis is unreachable",
    { probe: probing({ redis: false }) },
    "Ready",
    "False",
    "BackingUnreachable",
    /redis/,
  ],
  ["NATS is unreachable", { probe: probing({ nats: false }) }, "Degraded", "True", "NatsDown", /./],
  [
    "the outbox is full",
    { probe: probing({ pendingBytes: 1_000_000 }) },
    "AcceptingBids",
    "False",
    "OutboxFull",
    /limit/,
  ],
  [
    "archival answered lately but not now",
    { probe: { ...probing({}), misses: 2 } },
    "BackingReady",
    "True",
    "AllReachable",
    /./,
  ],
  [
    "archival did not answer three times",
    { probe: { ...probing({}), misses: 3, why: "refused" }, previous: { phase: "Open" } },
    "BackingReady",
    "Unknown",
    "Unknown",
    /refused/,
  ],
  [
    "archival did not answer three times",
    { probe: { ...probing({}), misses: 3, why: "refused" }, previous: { phase: "Open" } },
    "ArchiveCurrent",
    "Unknown",
    "Unknown",
    /./,
  ],
  [
    "an event waits for too long",
    { probe: probing({ archiveLagMs: 30_001 }) },
    "ArchiveCurrent",
    "False",
    "Lagging",
    /30s/,
  ],
  [
    "an event waits for too long",
    { probe: probing({ archiveLagMs: 30_001 }) },
    "Degraded",
    "True",
    "ArchiveLagging",
    /30s/,
  ],
  [
    "a Secret is missing",
    { obstacle: { reason: "SecretNotFound", message: "there is no Secret x; create it" } },
    "Stalled",
    "True",
    "SecretNotFound",
    /create it/,
  ],
  [
    "the store refused the rules",
    { rulesHash: "hash-2", rulesRefusalReason: "the auction is open" },
    "RulesPublished",
    "False",
    "RejectedAuctionOpen",
    /the auction is open/,
  ],
  [
    "no gateway is ready",
    { workloads: { ...statusFacts().workloads, gateway: workload({ ready: 0 }) } },
    "Ready",
    "False",
    "TierUnavailable",
    /Gateway/,
  ],
  [
    "one of two gateways is ready",
    { workloads: { ...statusFacts().workloads, gateway: workload({ ready: 1 }) } },
    "Degraded",
    "True",
    "ReplicaShortfall",
    /gateway: 1 of 2/,
  ],
  [
    "pods are replaced",
    { workloads: { ...statusFacts().workloads, gateway: workload({ updated: 1 }) } },
    "Reconciling",
    "True",
    "RollingUpdate",
    /gateway/,
  ],
  [
    "a rollout does not come to an end",
    {
      workloads: {
        ...statusFacts().workloads,
        gateway: workload({ deadlineExceeded: "no nodes" }),
      },
    },
    "Stalled",
    "True",
    "ProgressDeadlineExceeded",
    /no nodes/,
  ],
  [
    "an update waits",
    { held: { gateway: "r2" } },
    "UpdatePending",
    "True",
    "AuctionOpen",
    /gateway/,
  ],
  [
    "it is paused",
    { annotations: { paused: true, dryRun: false } },
    "Paused",
    "True",
    "AnnotationSet",
    /removed/,
  ],
  [
    "it is suspended",
    { auction: storedAuction({ suspended: true }), probe: probing({ suspended: true }) },
    "AcceptingBids",
    "False",
    "Suspended",
    /./,
  ],
  [
    "the drain takes too long",
    { drain: { step: "Verify", startedAtMs: NOW_MS, message: "differs", timedOut: true } },
    "Stalled",
    "True",
    "DrainTimedOut",
    /differs/,
  ],
];

test.each(CONDITION_CASES)("when %s", (_when, changes, type, status, reason, message) => {
  expect(condition(statusOf(statusFacts(changes)), type)).toMatchObject({
    status,
    reason,
    message: expect.stringMatching(message) as string,
  });
});

const external = (durability: string) =>
  storedAuction({
    backing: { redis: { mode: "External", external: { secretRef: { name: "r" } }, durability } },
  });

test("MemoryShort says what to set where Redis has less memory than the auction may take", () => {
  const why = "Redis has no maxmemory, and this auction needs 1000 bytes: set maxmemory 1000";
  const given = (memoryShortage: string | null) =>
    condition(statusOf(statusFacts({ probe: probing({ memoryShortage }) })), "MemoryShort");
  expect(given(why)).toMatchObject({ status: "True", message: why });
  expect(given(null)).toBeUndefined();
});

test("DurabilityWeak names the settings with which an External Redis may lose acknowledged bids", () => {
  const weak = (settings: string[], durability = "Disk") => {
    const keeps = settings.length === 0 ? "yes" : "no";
    const probe = probing({ durability: { keeps, settings } });
    return condition(
      statusOf(statusFacts({ auction: external(durability), probe })),
      "DurabilityWeak",
    );
  };
  expect(weak([])).toMatchObject({ status: "False" });
  expect(weak(["appendonly=no"])).toMatchObject({
    status: "True",
    message: expect.stringMatching(/appendonly=no/) as string,
  });
  expect(weak(["appendfsync=everysec"], "Replica")).toMatchObject({ status: "False" });
  expect(weak(["maxmemory-policy=allkeys-lru"], "Replica")).toMatchObject({ status: "True" });
  const probe = probing({ durability: { keeps: "unknown", settings: [] } });
  const status = statusOf(statusFacts({ auction: external("Disk"), probe }));
  expect(condition(status, "DurabilityWeak")).toMatchObject({ status: "Unknown" });
});

test("a status matches its schema, and equal facts give an equal status", () => {
  for (const [, changes] of CONDITION_CASES) {
    const status = statusOf(statusFacts(changes));
    expect([...Value.Errors(Status, status)]).toEqual([]);
    expect(statusOf(statusFacts({ ...changes, previous: status }))).toEqual(status);
  }
});

test("lastTransitionTime changes only with the condition's status", () => {
  const first = statusOf(statusFacts());
  const later = statusFacts({ previous: first, nowMs: NOW_MS + 60_000 });
  expect(condition(statusOf(later), "Ready")).toEqual(condition(first, "Ready"));
  const away = statusOf({ ...later, probe: probing({ redis: false }) });
  expect(condition(away, "Ready")?.lastTransitionTime).toBe("2026-12-01T19:01:00Z");
});

test("counters alone are written once in 15 s, everything else at once", () => {
  const first = statusOf(statusFacts());
  const bids = statusOf(
    statusFacts({ previous: first, nowMs: NOW_MS + 5_000, probe: probing({ bidsAccepted: 8 }) }),
  );
  expect(shouldWrite(first, bids, NOW_MS, NOW_MS + 5_000)).toBe(false);
  expect(shouldWrite(first, bids, NOW_MS, NOW_MS + COUNTERS_MS)).toBe(true);
  const away = statusOf(statusFacts({ previous: first, probe: probing({ redis: false }) }));
  expect(shouldWrite(first, away, NOW_MS, NOW_MS + 1)).toBe(true);
  const quiet = statusOf(statusFacts({ previous: first, nowMs: NOW_MS + 3_600_000 }));
  expect(shouldWrite(first, quiet, NOW_MS, NOW_MS + 3_600_000)).toBe(false);
});
