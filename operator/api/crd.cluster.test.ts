/** The CRD on a real API server: what it refuses, fills in and prints is what is said here. */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { Agent, request } from "undici";
import { beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { afterFile } from "../../services/testing/after-file.ts";
import { until } from "../../services/testing/until.ts";
import { auctionWith, CASES } from "./auction-cases.ts";
import { AUCTION_RULES } from "./auction-rules.ts";
import { type Phase, PHASES } from "./auction-status.ts";
import { CHANGE_CASES } from "./change-cases.ts";
import { CHANGE_RULES } from "./change-rules.ts";
import { CLUSTER_CASES } from "./cluster-cases.ts";
import { CONVERSION_CASES } from "./conversion-cases.ts";
import { crd, CRD_NAME } from "./crd.ts";
import { SCHEDULES } from "../testing/schedules.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { validateAuction } from "./validate-auction.ts";

interface Stored {
  readonly metadata: Record<string, unknown> & { readonly name: string };
  readonly spec: unknown;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

const AUCTIONS = "/apis/gavel.dev/v1alpha1/namespaces/default/auctions";
const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const STRICT_DRY = "?fieldValidation=Strict&dryRun=All";
/** `kubectl apply` keeps what it was given in an annotation, and this is what all of them may hold. */
const MAX_ANNOTATIONS_BYTES = 262_144;

describe.skipIf(!canRunApiServer())("the CRD on a real API server", { timeout: 120_000 }, () => {
  let server: TestApiServer;
  let agent: Agent;
  /** What the server has said of rules, over all tests. */
  const said = new Set<string>();

  async function send(
    method: "GET" | "POST" | "PUT" | "PATCH",
    path: string,
    body?: unknown,
  ): Promise<Answer> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const answer = await request(server.url + path, {
      method,
      dispatcher: agent,
      headers: { authorization: `Bearer ${server.token}`, "content-type": type },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headersTimeout: 20_000,
    });
    const answered = (await answer.body.json()) as Answer["body"];
    for (const { message } of complaintsIn(answered)) said.add(message);
    return { status: answer.statusCode, body: answered };
  }

  /** Its answer, where it must have been taken. */
  async function done(...args: Parameters<typeof send>): Promise<Stored> {
    const { status, body } = await send(...args);
    expect([status, complaintsIn(body)]).toEqual([expect.toBeOneOf([200, 201]), []]);
    return body as Stored;
  }

  const setPhase = (name: string, phase: Phase) =>
    done("PATCH", `${AUCTIONS}/${name}/status`, { status: { phase } });

  beforeAll(async () => {
    server = await startApiServer();
    agent = new Agent({ connect: { ca: server.ca } });
    afterFile(() => agent.destroy());
    await done("POST", CRDS, crd());
    await until("the CRD is established", async () => {
      return (await conditionsOfCrd()).get("Established") === "True";
    });
    await until("Auctions are served", async () => (await send("GET", AUCTIONS)).status === 200);
  }, 180_000);

  async function conditionsOfCrd(): Promise<Map<string, string>> {
    const { body } = await send("GET", `${CRDS}/${CRD_NAME}`);
    const { status } = body as { status?: { conditions?: { type: string; status: string }[] } };
    return new Map(status?.conditions?.map((each) => [each.type, each.status]));
  }

  test("it is structural, and its names are accepted", async () => {
    const conditions = await conditionsOfCrd();
    expect(conditions.get("NonStructuralSchema")).toBeUndefined();
    expect(conditions.get("NamesAccepted")).toBe("True");
  });

  for (const { name, auction, problems } of [...CASES, ...CLUSTER_CASES, ...CONVERSION_CASES]) {
    if (problems.length === 0) {
      test(`accepts, with the defaults that one machine fills in: ${name}`, async () => {
        const stored = await done("POST", AUCTIONS + STRICT_DRY, auction);
        expect(stored.spec).toEqual(specWithDefaults(auction));
      });
      continue;
    }
    test(`refuses: ${name}`, async () => {
      const { status, body } = await send("POST", AUCTIONS + STRICT_DRY, auction);
      expect([400, 422]).toContain(status);
      const complaints = complaintsIn(body);
      for (const { path, message, server } of problems) {
        expect(complaints).toContainEqual({
          path: server?.path ?? path,
          message: expect.stringMatching(server?.message ?? message),
        });
      }
      // Nothing but what it is about: no rule complains that has no reason to.
      const about = problems.flatMap(({ path, server }) => [path, server?.path ?? path]);
      const beside = complaints.filter(({ path }) => !about.some((each) => each.startsWith(path)));
      expect(beside).toEqual([]);
    });
  }

  CHANGE_CASES.forEach(({ name, before, now, refusedIn, path, message }, i) => {
    const when = refusedIn.length === 0 ? "in no phase" : `in ${refusedIn.join(", ")}`;
    test(`refuses to change ${name} ${when}`, async () => {
      const named = `change-${i}`;
      await done("POST", AUCTIONS, nameIt(before, named));
      for (const phase of PHASES) {
        const { metadata } = await setPhase(named, phase);
        const changed = { ...(now as object), metadata };
        const { status, body } = await send("PUT", `${AUCTIONS}/${named}${STRICT_DRY}`, changed);
        const complaints = complaintsIn(body);
        if (refusedIn.includes(phase)) {
          const expected = { path, message: expect.stringMatching(message) };
          expect(complaints, phase).toContainEqual(expected);
        } else {
          expect([status, complaints], phase).toEqual([200, []]);
        }
      }
    });
  });

  test("a change before any status is as in Pending", async () => {
    await done("POST", AUCTIONS, auctionWith({}, "no-status"));
    const changed = auctionWith({ currency: "USD", backing: { redis: EXTERNAL } });
    await done("PATCH", `${AUCTIONS}/no-status`, { spec: (changed as Stored).spec });
  });

  test("it has said each rule in the tests above", () => {
    const rules = [...AUCTION_RULES, ...CHANGE_RULES].map(({ message }) => message);
    expect(rules.filter((rule) => ![...said].some((text) => text.endsWith(rule)))).toEqual([]);
  });

  test("whatever is left out is filled in as one machine does", async () => {
    const full = specWithDefaults(
      auctionWith({ backing: { redis: { managed: {} }, nats: EXTERNAL } }),
    );
    const paths = pathsOf(full).filter(
      (path) => !/^(currency|schedule$|lots)/.test(path.join(".")),
    );
    await fc.assert(
      fc.asyncProperty(fc.subarray(paths), async (left) => {
        const spec = structuredClone(full) as Record<string, unknown>;
        for (const path of left) remove(spec, path);
        const auction = auctionWith(spec);
        const validation = validateAuction(auction);
        const { status, body } = await send("POST", AUCTIONS + STRICT_DRY, auction);
        expect(status === 201).toBe(validation.ok);
        if (validation.ok) expect((body as Stored).spec).toEqual(validation.auction.spec);
      }),
      { numRuns: 100 },
    );
  });

  test("a schedule is read as one machine reads it", async () => {
    await fc.assert(
      fc.asyncProperty(SCHEDULES, async (schedule) => {
        const auction = auctionWith({ schedule });
        const { status } = await send("POST", AUCTIONS + STRICT_DRY, auction);
        expect(status === 201).toBe(validateAuction(auction).ok);
      }),
      { numRuns: 150 },
    );
  });

  test("auctions are found by phase and by profile", async () => {
    await done("POST", AUCTIONS, auctionWith({}, "found"));
    await done("POST", AUCTIONS, auctionWith({}, "other"));
    await setPhase("found", "Open");
    await setPhase("other", "Closing");
    const names = async (selector: string) => {
      const { body } = await send(
        "GET",
        `${AUCTIONS}?fieldSelector=${encodeURIComponent(selector)}`,
      );
      return (body as { items: Stored[] }).items.map(({ metadata }) => metadata.name);
    };
    expect(await names("status.phase=Open")).toEqual(["found"]);
    expect(await names("spec.profile=Production")).toEqual([]);
    expect(await names("spec.profile=Development")).toContain("found");
  });

  test("a whole status is kept as it is written, and nothing else of it", async () => {
    await done("POST", AUCTIONS, auctionWith({}, "reported"));
    const stored = await done("PATCH", `${AUCTIONS}/reported/status`, { status: STATUS });
    expect((stored as Stored & { status: unknown }).status).toEqual(STATUS);
    const { status, body } = await send(
      "PATCH",
      `${AUCTIONS}/reported/status?fieldValidation=Strict`,
      { status: { leadingBid: 5 } },
    );
    expect(status).toBe(422);
    expect(complaintsIn(body)[0]?.message).toMatch(/unknown field "status.leadingBid"/);
  });

  test.skipIf(kubectl() === null)("kubectl get auc prints the columns", async () => {
    await done("POST", AUCTIONS, auctionWith({}, "printed"));
    await done("PATCH", `${AUCTIONS}/printed/status`, { status: STATUS });
    const lines = async (...args: string[]) => {
      const { stdout } = await run("get", "auc", "printed", ...args);
      return stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.trim().split(/\s+/));
    };
    expect(await lines()).toEqual([
      ["NAME", "PHASE", "READY", "LOTS", "BIDS", "CLOSES", "ARCHIVED", "AGE"],
      [
        "printed",
        "Open",
        "True",
        "3/5",
        "1234",
        "2026-12-01T20:04:00Z",
        "True",
        expect.any(String),
      ],
    ]);
    const [heads, values] = await lines("-o", "wide");
    expect(heads!.slice(8)).toEqual(["ENDPOINT", "DEGRADED", "REASON"]);
    expect(values!.slice(8)).toEqual(["http://a.example.com/", "False", "Live"]);
  });

  test.skipIf(kubectl() === null)(
    "kubectl applies the CRD and its samples client-side",
    async () => {
      const file = join(tmpdir(), `gavel-crd-${process.pid}.json`);
      afterFile(() => rmSync(file, { force: true }));
      writeFileSync(file, JSON.stringify(crd()));
      const { stdout } = await run("apply", "-f", file);
      expect(stdout).toMatch(/configured|unchanged/);
      const applied = await run("apply", "--dry-run=server", "-f", "manifests/samples");
      expect(applied.stdout).toMatch(/spring-sale created/);
    },
  );

  async function run(...args: string[]) {
    return promisify(execFile)(kubectl()!, ["--kubeconfig", server.kubeconfigFile, ...args], {
      timeout: 60_000,
    });
  }

  test("what an earlier version stored can still be changed in everything else", async () => {
    const yen = auctionWith({ currency: "JPY", minorUnitDigits: 2 });
    const isTaken = async () => (await send("POST", AUCTIONS + STRICT_DRY, yen)).status === 201;
    await done("PATCH", `${CRDS}/${CRD_NAME}`, earlierCrd());
    await until("the earlier version is served", isTaken);
    const schedule = { opensAt: "2026-12-01T18:00:00.1234Z", lasts: "30m" };
    for (const name of ["yen-open", "yen-pending"]) {
      const { spec } = auctionWith({ currency: "JPY", schedule }) as { spec: object };
      const stored = await done("POST", AUCTIONS, { ...nameIt(yen, name), spec });
      expect(stored.spec).toMatchObject({ minorUnitDigits: 2, schedule });
    }
    await done("PATCH", `${CRDS}/${CRD_NAME}`, crd());
    await until("this version is served", async () => !(await isTaken()));

    await setPhase("yen-open", "Open");
    const change = (name: string, spec: object) => send("PATCH", `${AUCTIONS}/${name}`, { spec });
    await done("PATCH", `${AUCTIONS}/yen-open`, { spec: { suspended: true } });
    for (const minorUnitDigits of [0, null]) {
      const { status, body } = await change("yen-open", { minorUnitDigits });
      expect([status, complaintsIn(body)[0]?.message]).toEqual([
        422,
        expect.stringMatching(/frozen/),
      ]);
    }
    expect((await change("yen-pending", { title: "In yen" })).status).toBe(200);
    expect((await change("yen-pending", { minorUnitDigits: 3 })).status).toBe(422);
    expect((await change("yen-pending", { minorUnitDigits: 0 })).status).toBe(200);
    expect((await change("yen-pending", { minorUnitDigits: 2 })).status).toBe(422);
  });

  test.each(readdirSync("manifests/samples"))("accepts manifests/samples/%s", async (file) => {
    const text = readFileSync(join("manifests/samples", file), "utf8");
    const documents = parseAllDocuments(text).map(
      (each) => each.toJS() as Stored & { kind: string },
    );
    const auctions = documents.filter(({ kind }) => kind === "Auction");
    expect(auctions).toHaveLength(1);
    for (const auction of auctions) {
      const stored = await done("POST", AUCTIONS + STRICT_DRY, auction);
      expect(stored.spec).toEqual(specWithDefaults(auction));
    }
  });
});

test("the CRD and 200 lots fit into the annotation of a client-side apply", () => {
  expect(JSON.stringify(crd()).length).toBeLessThan(MAX_ANNOTATIONS_BYTES / 2);
  const lots = CASES.find(({ name }) => name === "200 lots")!.auction;
  expect(JSON.stringify(lots).length).toBeLessThan(MAX_ANNOTATIONS_BYTES / 2);
});

const EXTERNAL = { mode: "External", external: { secretRef: { name: "s" } } };

const at = (reason: string, type: string, status: string) => {
  return { type, status, reason, message: "", lastTransitionTime: "2026-12-01T18:00:00Z" };
};

const STATUS = {
  observedGeneration: 1,
  phase: "Open",
  phaseSince: "2026-12-01T18:00:00Z",
  operatorVersion: "0.1.0",
  conditions: [
    at("Live", "Ready", "True"),
    at("CaughtUp", "ArchiveCurrent", "True"),
    at("AsExpected", "Degraded", "False"),
  ],
  schedule: {
    opensAt: "2026-12-01T18:00:00Z",
    effectiveClosesAt: "2026-12-01T20:04:00Z",
    extensions: 2,
  },
  endpoints: { bids: "http://a.example.com/", stream: "ws://a.example.com/v1/stream" },
  rules: { desiredHash: "d", publishedHash: "d" },
  tiers: { gateway: { desired: 2, ready: 2, updated: 2, image: "gavel:1", revision: "r" } },
  backing: { redis: { mode: "Managed", reachable: true, secretHash: "s" } },
  lots: { summary: "3/5", total: 5, open: 2, sold: 3, unsold: 0, withdrawn: 0 },
  activity: { bidsAccepted: 1234, observedAt: "2026-12-01T19:00:00Z" },
  archive: { relayedId: "1-0", archivedId: "1-0", lagMs: 12 },
};

/** The CRD of an earlier version: it took more instants, and stored 2 digits for every currency. */
function earlierCrd(): object {
  return JSON.parse(JSON.stringify(crd()), (name, value: unknown) => {
    switch (name) {
      case "minorUnitDigits":
        return { ...(value as object), default: 2 };
      case "opensAt":
      case "closesAt":
        return { ...(value as object), pattern: null }; // A merge patch removes it.
      case "x-kubernetes-validations":
        return (value as { rule: string; message: string }[]).filter(
          ({ message }) => !message.startsWith("minorUnitDigits"),
        );
    }
    return value;
  }) as object;
}

/** What a server complains of: field by field, or of the whole request. */
function complaintsIn(body: unknown): { path: string; message: string }[] {
  const {
    kind,
    message = "",
    details,
  } = body as {
    kind?: string;
    message?: string;
    details?: { causes?: { field?: string; message: string }[] };
  };
  if (kind !== "Status") return [];
  const causes = details?.causes ?? [];
  if (causes.length === 0) {
    const path = /unknown field "([^"]+)"/.exec(message)?.[1] ?? "";
    // An unknown version shows every field as unknown.
    return [{ path: message.includes('version "v1"') ? "" : path, message }];
  }
  return causes
    .map((cause) => ({ path: cause.field ?? "", message: cause.message }))
    .filter((cause) => !cause.message.includes("some validation rules were not checked"));
}

function specWithDefaults(auction: unknown): unknown {
  const validation = validateAuction(auction);
  if (!validation.ok) throw new Error(JSON.stringify(validation.problems));
  return validation.auction.spec;
}

const nameIt = (auction: unknown, name: string) => ({ ...(auction as Stored), metadata: { name } });

type Path = readonly string[];

/** Of every field of an object, fields of fields included. Lists are whole. */
function pathsOf(value: unknown): Path[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([name, part]) => [
    [name],
    ...pathsOf(part).map((path) => [name, ...path]),
  ]);
}

function remove(from: Record<string, unknown>, [first, ...rest]: Path): void {
  if (rest.length === 0) delete from[first!];
  else if (from[first!] !== undefined) remove(from[first!] as Record<string, unknown>, rest);
}

function kubectl(): string | null {
  const folders = [
    process.env["KUBEBUILDER_ASSETS"] ?? "",
    ...(process.env["PATH"] ?? "").split(delimiter),
  ];
  const paths = folders.filter((folder) => folder !== "").map((folder) => join(folder, "kubectl"));
  return paths.find((path) => existsSync(path)) ?? null;
}
