import { describe, expect, test } from "vitest";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { rulesHashOf } from "../../services/store/define-lots.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { definitionOf } from "../api/definition.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import {
  NOW_MS,
  observation,
  SETTINGS,
  state,
  storedAuction,
  workload,
} from "../testing/observation.ts";
import type { Action, Plan } from "./action.ts";
import { NO_MEMORY, type Observation } from "./observation.ts";
import { planDrain } from "./plan-drain.ts";
import { planReconcile, VERIFY_EVERY_MS } from "./plan.ts";
import { statusOf } from "./status.ts";

const closesAt = "2026-12-01T20:00:00Z";
/** Opens as soon as its tiers are ready. */
const AUCTION = storedAuction({ schedule: { closesAt } });

const hashOf = (auction: StoredAuction) =>
  rulesHashOf(
    definitionOf(
      { ...auction, metadata: { name: auction.metadata.name } },
      auction.metadata.uid,
      new Map(),
    ),
  );
const HASH = hashOf(AUCTION);

const probeOf = (reported: Partial<ArchivalState>, misses = 0) => ({
  state: state({ rulesHash: HASH, ...reported }),
  misses,
  why: "",
});
const given = (
  reported: Partial<ArchivalState> = {},
  changes: Partial<Observation> = {},
): Observation => observation({ auction: AUCTION, probe: probeOf(reported), ...changes });

const reconciled = (observed: Observation): Plan => planReconcile(observed, SETTINGS);
const typesOf = ({ actions }: Plan) => actions.map(({ type }) => type);
const callsOf = (plan: Plan) =>
  typesOf(plan).filter((type) => type !== "apply" && type !== "write-status");
const actionOf = <T extends Action["type"]>({ actions }: Plan, type: T) =>
  actions.find((action): action is Extract<Action, { type: T }> => action.type === type);

const over = { total: 2, scheduled: 0, open: 0, closed: 2, sold: 1, unsold: 1, withdrawn: 0 };
const verified = { atMs: NOW_MS, ok: true, lots: 2, events: 20, differences: [] };
const fenced = { lots: over, fencedId: "9-1", relayedId: "9-1", archivedId: "9-1" };
const remembering = (changes: Partial<Observation["memory"]>) => ({
  memory: { ...NO_MEMORY, ...changes },
});
const refused = (hash: string) => remembering({ rulesRefusal: { hash, why: "open" } });
const annotated = (annotations: Record<string, string>) => ({
  auction: storedAuction({ schedule: { closesAt } }, { annotations }),
});
const tiers = (changes: Partial<Observation["workloads"]>) => ({
  workloads: { ...observation().workloads, ...changes },
});
const changedRules = { rulesHash: "other" };

describe("calls to the data plane", () => {
  test.each<[string, Observation, Action["type"][]]>([
    ["the store has the rules", given(), []],
    ["the store has other rules", given(changedRules), ["publish-rules"]],
    ["the store has no auction yet", given({ rulesHash: null, lots: null }), []],
    ["the store refused these rules", given(changedRules, refused(HASH)), []],
    ["the store refused earlier rules", given(changedRules, refused("x")), ["publish-rules"]],
    [
      "the rules changed and intake is fenced",
      given({ ...changedRules, fencedId: "9-0", archivedId: "8-0" }),
      [],
    ],
    ["archival never answered", given({}, { probe: { state: null, misses: 1, why: "" } }), []],
    [
      "archival does not answer now",
      given({}, { probe: probeOf({ opensAtMs: null, ...changedRules }, 1) }),
      [],
    ],
    ["all tiers are ready and it has no opening time", given({ opensAtMs: null }), ["open"]],
    ["it is open already", given({ opensAtMs: NOW_MS }), []],
    [
      "one gateway of two is ready",
      given({ opensAtMs: null }, tiers({ gateway: workload({ ready: 1 }) })),
      [],
    ],
    [
      "no broadcast is wanted now",
      given({ opensAtMs: null }, tiers({ broadcast: workload({ ready: 0, desired: 0 }) })),
      [],
    ],
    ["archival does not exist", given({ opensAtMs: null }, { workloads: {} }), []],
    [
      "it is due to open and the store refused its rules",
      given({ opensAtMs: null, ...changedRules }, refused(HASH)),
      [],
    ],
    ["one lot is not over", given({ lots: { ...over, unsold: 0 } }), []],
    ["all lots are over", given({ lots: over }), ["fence"]],
    [
      "all lots are over and the rules changed",
      given({ lots: over, ...changedRules }),
      ["publish-rules", "fence"],
    ],
    ["the archive is behind the fence", given({ ...fenced, archivedId: "9-0" }), []],
    ["nothing is archived", given({ ...fenced, archivedId: null }), []],
    ["the archive has reached the fence", given(fenced), ["verify"]],
    ["the outbox was empty", given({ ...fenced, fencedId: "0-0", archivedId: null }), ["verify"]],
    [
      "the archive differed 29 s ago",
      given(
        { ...fenced, verified: { ...verified, ok: false } },
        remembering({ verifyTriedAtMs: NOW_MS - VERIFY_EVERY_MS + 1 }),
      ),
      [],
    ],
    [
      "the archive differed 30 s ago",
      given(
        { ...fenced, verified: { ...verified, ok: false } },
        remembering({ verifyTriedAtMs: NOW_MS - VERIFY_EVERY_MS }),
      ),
      ["verify"],
    ],
    ["the archive is proven complete", given({ ...fenced, verified }), []],
    ["keys and stream are deleted", given({ ...fenced, rulesHash: null, cleaned: true }), []],
    [
      "it is paused",
      given({ lots: over, ...changedRules }, annotated({ "gavel.dev/reconcile": "paused" })),
      [],
    ],
    [
      "it is a dry run",
      given({ lots: over, ...changedRules }, annotated({ "gavel.dev/dry-run": "true" })),
      [],
    ],
  ])("when %s", (_when, observed, calls) => {
    expect(callsOf(reconciled(observed))).toEqual(calls);
  });

  test("the opening may follow the publication of rules in the same reconcile", () => {
    const published = (reported: Partial<ArchivalState>, changes: Partial<Observation> = {}) =>
      actionOf(reconciled(given({ ...changedRules, ...reported }, changes)), "publish-rules");
    expect(published({ opensAtMs: null })).toMatchObject({ rulesHash: HASH, thenOpen: true });
    expect(published({})).toMatchObject({ thenOpen: false });
    expect(published({ opensAtMs: null }, { workloads: {} })).toMatchObject({ thenOpen: false });
  });

  test.each<[string, object]>([
    ["is suspended", { suspended: true }],
    ["has an opening time", { schedule: { opensAt: "2026-12-01T19:30:00Z", closesAt } }],
  ])("an auction that %s is not opened", (_what, spec) => {
    const auction = storedAuction({ schedule: { closesAt }, ...spec });
    const probe = probeOf({ opensAtMs: null, rulesHash: hashOf(auction) });
    expect(callsOf(reconciled(given({}, { auction, probe })))).toEqual([]);
  });
});

describe("objects", () => {
  const obstacle = { reason: "SecretNotFound", message: "there is no Secret x" } as const;
  const secrets = { ...observation().secrets, obstacle };

  test("objects are applied before the calls to archival, and the status is written last", () => {
    expect(typesOf(reconciled(given({ lots: over })))).toEqual(["apply", "fence", "write-status"]);
  });

  test("while reconcile is paused, only the status is written", () => {
    const plan = reconciled(given({}, annotated({ "gavel.dev/reconcile": "paused" })));
    expect(typesOf(plan)).toEqual(["write-status"]);
    expect(plan.status.annotations.paused).toBe(true);
  });

  test("a dry run applies as a dry run", () => {
    const plan = reconciled(given({}, annotated({ "gavel.dev/dry-run": "true" })));
    expect(actionOf(plan, "apply")?.dryRun).toBe(true);
    expect(actionOf(reconciled(given()), "apply")?.dryRun).toBe(false);
  });

  test("while a Secret is missing nothing is created, and existing objects are maintained", () => {
    const began = reconciled(given({}, { secrets, workloads: {} }));
    expect(typesOf(began)).toEqual(["write-status"]);
    const maintained = reconciled(given({}, { secrets }));
    expect(typesOf(maintained)).toEqual(["apply", "write-status"]);
    expect(maintained.status).toMatchObject({ obstacle, rulesHash: null });
  });

  test("the same observation gives the same plan, and the observation is not changed", () => {
    const observed = given({ lots: over, ...changedRules });
    const before = structuredClone(observed);
    expect(reconciled(observed)).toEqual(reconciled(observed));
    expect(observed).toEqual(before);
  });
});

describe("a drain", () => {
  const deleted = (spec: object = {}, status: object = {}, metadata: object = {}) => ({
    ...storedAuction(
      { schedule: { closesAt }, ...spec },
      { deletionTimestamp: "2026-12-01T19:00:00Z", ...metadata },
    ),
    status: { rules: { publishedHash: HASH }, ...status },
  });
  const child = (kind: string, name: string): AnyObject => ({
    apiVersion: "apps/v1",
    kind,
    metadata: { name, namespace: "default" },
  });
  const children = ["n1-gateway", "n1-broadcast", "n1-archival"].map((name) =>
    child("Deployment", name),
  );
  const draining = (
    reported: Partial<ArchivalState> = {},
    changes: Partial<Observation> = {},
  ): Observation => given(reported, { auction: deleted(), children, ...changes });
  const drained = (observed: Observation): Plan => planDrain(observed, SETTINGS);
  const withoutBroadcast = { gateway: workload(), archival: workload() };
  const unanswered = { probe: { state: null, misses: 1, why: "refused" } };
  const proven = { ...fenced, verified };
  const cleaned = { ...proven, rulesHash: null, cleaned: true };

  test.each<[string, Observation, Action["type"][]]>([
    ["nothing is fenced", draining(), ["write-status", "apply-for-drain", "fence"]],
    [
      "the outbox is not archived",
      draining({ ...fenced, archivedId: "9-0" }),
      ["write-status", "apply-for-drain"],
    ],
    ["everything is archived", draining(fenced), ["write-status", "apply-for-drain", "verify"]],
    ["the archive is proven complete", draining(proven), ["write-status", "apply-for-drain"]],
    [
      "no viewer is connected",
      draining(proven, { workloads: withoutBroadcast }),
      ["write-status", "apply-for-drain", "clean"],
    ],
    [
      "keys and stream are deleted",
      draining(cleaned, { workloads: withoutBroadcast }),
      ["write-status", "remove", "remove-finalizer"],
    ],
    ["archival does not answer", draining({}, unanswered), ["write-status", "apply-for-drain"]],
    [
      "the namespace is terminating",
      draining({}, { isNamespaceTerminating: true }),
      ["write-status", "fence"],
    ],
    [
      "it is released by force",
      draining(
        {},
        {
          auction: deleted({}, {}, { annotations: { "gavel.dev/force-release": "u" }, uid: "u" }),
        },
      ),
      ["write-status", "remove", "remove-finalizer", "report-release"],
    ],
  ])("when %s", (_when, observed, types) => {
    expect(typesOf(drained(observed))).toEqual(types);
  });

  test("archival deletes without a proof only if the policy is Abandon", () => {
    const clean = (policy: string) =>
      actionOf(
        drained(
          draining(proven, {
            auction: deleted({ deletion: { policy } }),
            workloads: withoutBroadcast,
          }),
        ),
        "clean",
      );
    expect(clean("Drain")?.force).toBe(false);
    expect(clean("Abandon")?.force).toBe(true);
  });

  const namesOf = (plan: Plan, kind: string) =>
    actionOf(plan, "apply-for-drain")!
      .objects.filter((object) => object.kind === kind)
      .map(({ metadata }) => metadata.name);

  test("archival and the stores are created again; gateway and broadcast are only scaled down", () => {
    expect(namesOf(drained(draining()), "Deployment")).toEqual(["n1-archival"]);
    expect(namesOf(drained(draining()), "StatefulSet")).toHaveLength(3);
    const closing = drained(draining(proven));
    expect(closing.status.scale).toBe("no-viewers");
    expect(namesOf(closing, "Deployment").sort()).toEqual(["n1-archival", "n1-broadcast"]);
    const stopping = drained(draining({}, { ...unanswered, nowMs: NOW_MS + 30_000 }));
    expect(stopping.status.scale).toBe("no-intake");
    expect(namesOf(stopping, "Deployment")).toHaveLength(3);
    const gone = drained(draining(proven, { children: [] }));
    expect(namesOf(gone, "Deployment")).toEqual(["n1-archival"]);
  });

  const removed = (observed: Observation) =>
    actionOf(drained(observed), "remove")!.refs.map(({ kind, name }) => `${kind}/${name}`);

  test("the end removes all objects, and keeps the data that the spec retains", () => {
    const end = (deletion: object) =>
      removed(draining(cleaned, { auction: deleted({ deletion }), workloads: withoutBroadcast }));
    const retained = end({ dataPolicy: "Retain" });
    expect(retained.slice(0, 3)).toEqual(children.map((one) => `Deployment/${one.metadata.name}`));
    expect(retained).toContain("PersistentVolumeClaim/data-n1-redis-0");
    expect(retained).not.toContain("PersistentVolumeClaim/data-n1-postgres-0");
    expect(retained).not.toContain("Secret/n1-postgres");
    const all = end({ dataPolicy: "Delete" });
    expect(all).toContain("PersistentVolumeClaim/data-n1-postgres-0");
    expect(all).toContain("Secret/n1-postgres");
  });

  test("a release keeps every volume and Secret", () => {
    const auction = deleted(
      { deletion: { dataPolicy: "Delete" } },
      {},
      {
        annotations: { "gavel.dev/force-release": "u" },
        uid: "u",
      },
    );
    const kinds = removed(draining({}, { auction })).map((name) => name.split("/")[0]);
    expect(kinds).not.toContain(KINDS.PersistentVolumeClaim.kind);
    expect(kinds).not.toContain(KINDS.Secret.kind);
  });

  test("it is reconciled every second, and every 15 s once it is held past drainTimeout", () => {
    expect(drained(draining()).requeueAfterMs).toBe(1_000);
    const held = drained(draining({}, { nowMs: NOW_MS + 600_000 }));
    expect(held.requeueAfterMs).toBe(15_000);
    expect(held.status.drain?.timedOut).toBe(true);
    expect(statusOf(held.status).conditions).toContainEqual(
      expect.objectContaining({ type: "Stalled", reason: "DrainTimedOut" }),
    );
  });
});
