/** The operator against a real API server; archival and the pods are stood in for. */
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { until } from "../../services/testing/until.ts";
import { auctionWith } from "../api/auction-cases.ts";
import { type Cluster, connectCluster } from "../kube/client.ts";
import { crd } from "../api/crd.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { FINALIZER } from "./finalizer.ts";
import type { OperatorSettings } from "./operator-settings.ts";
import { createOperatorMetrics } from "../metrics.ts";
import { AuctionController } from "./controller.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { type AnyObject, type Kind, KINDS } from "../kube/object.ts";
import { openConnectionsTo } from "../testing/connections.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";
import { SETTINGS } from "../testing/observation.ts";
import { makePodsReady, StandInArchival } from "../testing/stand-in.ts";

const log = pino({ level: "silent" });
const AUCTION = AUCTION_KIND;
const ME = { manager: "kubectl", force: true } as const;

let server: TestApiServer;
let cluster: Cluster;
let namespace: string;
let count = 0;

/** The archival tier of each Auction, by name. */
let archivals: Map<string, StandInArchival>;
let running: { stop(): Promise<void> }[] = [];
let podsRunning: NodeJS.Timeout;
/** Pods neither come nor go meanwhile. */
let arePodsHeld = false;

describe.skipIf(!canRunApiServer())("the operator", () => {
  beforeAll(async () => {
    server = await startApiServer();
    cluster = connectCluster({
      kubeconfigFile: server.kubeconfigFile,
      customKinds: [AUCTION_KIND],
    });
    await cluster.apply(crd() as unknown as AnyObject, ME);
    await until("the CRD is served", () => cluster.list(AUCTION));
  }, 240_000);

  afterAll(() => cluster.close());

  beforeEach(async () => {
    namespace = `test-${++count}`;
    archivals = new Map();
    await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }, ME);
    let isBusy = false;
    const at = namespace;
    podsRunning = setInterval(() => {
      if (isBusy || arePodsHeld) return;
      isBusy = true;
      makePodsReady(cluster, at)
        .catch(() => {})
        .finally(() => (isBusy = false));
    }, 300);
  });

  afterEach(async () => {
    clearInterval(podsRunning);
    await Promise.all(running.map((operator) => operator.stop()));
    running = [];
  });

  function archival(name: string): StandInArchival {
    const there = archivals.get(name) ?? new StandInArchival();
    archivals.set(name, there);
    return there;
  }

  /** One operator process. `stop` is a kill as far as the cluster can see: nothing is tidied. */
  function startOperator(settings: Partial<OperatorSettings> = {}) {
    const own = connectCluster({
      kubeconfigFile: server.kubeconfigFile,
      customKinds: [AUCTION_KIND],
    });
    const metrics = createOperatorMetrics(new Registry());
    const operator = new AuctionController({
      cluster: own,
      settings: { ...SETTINGS, ...settings },
      instance: "test",
      namespaces: [namespace],
      workers: 4,
      metrics,
      log,
      archivalFor: ({ metadata }) => archival(metadata.name),
    });
    const stopping = new AbortController();
    operator.start();
    const worked = operator.work(stopping.signal);
    let stopped: Promise<void> | null = null;
    const end = async () => {
      stopping.abort();
      await worked;
      await operator.stop();
      await own.close();
    };
    const handle = { stop: () => (stopped ??= end()) };
    running.push(handle);
    return handle;
  }

  const apply = (spec: Record<string, unknown> = {}, name = "n1", metadata: object = {}) => {
    const { metadata: own, ...rest } = auctionWith(spec, name) as AnyObject;
    return cluster.apply(
      { ...rest, metadata: { ...own, namespace, ...metadata } } as AnyObject,
      ME,
    );
  };
  const read = (kind: Kind, name: string) => cluster.get<AnyObject>({ ...kind, namespace, name });
  const readAuction = async (name = "n1") => (await read(AUCTION, name)) as StoredAuction | null;
  const list = (kind: Kind) => cluster.list<AnyObject>(kind, { namespace });
  const conditionOf = async (type: string, name = "n1") =>
    (await readAuction(name))?.status?.conditions?.find((one) => one.type === type);

  /** What archival does by itself once it runs: it takes the rules that are mounted. */
  async function defineFromRules(name = "n1"): Promise<void> {
    const secret = await until("the rules are there", () => read(KINDS.Secret, `${name}-rules`));
    const text = Buffer.from(secret!["data"]["rules.json"], "base64").toString();
    archival(name).define(JSON.parse(text));
  }

  async function bringToOpen(spec: Record<string, unknown> = {}): Promise<void> {
    await apply({ schedule: { lasts: "30m" }, ...spec });
    await defineFromRules();
    await until("it is open", async () => (await readAuction())?.status?.phase === "Open");
  }

  test("an Auction gets its finalizer before anything else, then all its objects, and reaches Open", async () => {
    startOperator();
    await apply({ schedule: { lasts: "30m" } });
    await until("a Deployment is there", () => read(KINDS.Deployment, "n1-gateway"));
    const { finalizers, creationTimestamp } = (await readAuction())!.metadata;
    expect(finalizers).toEqual([FINALIZER]);
    expect(creationTimestamp).toBeDefined();
    await defineFromRules();
    await until("it is open", async () => (await readAuction())?.status?.phase === "Open");
    expect(archival("n1").calls).toEqual(["open"]);
    const names = (
      await Promise.all([KINDS.Deployment, KINDS.StatefulSet, KINDS.Service].map(list))
    )
      .flat()
      .map(({ kind, metadata }) => `${kind ?? ""}${metadata.name}`);
    for (const name of ["n1-gateway", "n1-broadcast", "n1-archival", "n1-redis", "n1-nats"]) {
      expect(names.some((found) => found.endsWith(name))).toBe(true);
    }
    await until("Ready", async () => (await conditionOf("Ready"))?.status === "True");
    const status = (await readAuction())!.status!;
    expect(status.endpoints?.bids).toMatch(/^http/);
    expect(status.observedGeneration).toBe((await readAuction())!.metadata.generation);
  });

  test("whatever somebody changes or deletes is put back", async () => {
    startOperator();
    await bringToOpen();
    const gateway = { ...KINDS.Deployment, namespace, name: "n1-gateway" };
    await cluster.jsonPatch(gateway, [
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "evil:1" },
    ]);
    await until("the image is put back", async () => {
      const found = await cluster.get<AnyObject>(gateway);
      return found?.["spec"].template.spec.containers[0].image === "gavel:1";
    });
    for (const kind of [KINDS.Service, KINDS.NetworkPolicy, KINDS.ServiceAccount]) {
      const [one] = (await list(kind)).filter(({ metadata }) => metadata.name.startsWith("n1-"));
      const name = one!.metadata.name;
      await cluster.remove({ ...kind, namespace, name });
      await until(`${kind.kind} ${name} is put back`, () => read(kind, name));
    }
  });

  test("a missing Secret is told with what to do, and heals when it is there", async () => {
    startOperator();
    const external = { mode: "External", external: { secretRef: { name: "my-redis" } } };
    await apply({ backing: { redis: external } });
    const stalled = await until("it is told", async () => {
      const condition = await conditionOf("Stalled");
      return condition?.status === "True" ? condition : null;
    });
    expect(stalled).toMatchObject({
      reason: "SecretNotFound",
      message: expect.stringContaining("my-redis") as string,
    });
    expect(await read(KINDS.Deployment, "n1-archival")).toBeNull();
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "my-redis", namespace },
      stringData: { uri: "redis://:x@redis.example:6379" },
    };
    await cluster.apply(secret as AnyObject, ME);
    await until("it goes on", () => read(KINDS.Deployment, "n1-archival"));
    await until("not stalled", async () => (await conditionOf("Stalled")) === undefined);
    expect(await read(KINDS.StatefulSet, "n1-redis")).toBeNull();
  });

  test("rules are published before the opening; what the store refuses is told", async () => {
    startOperator();
    await apply({ lots: [{ id: "a", startMinor: 100 }] });
    await defineFromRules();
    const published = async () => (await conditionOf("RulesPublished"))?.reason;
    await until("they are there", async () => (await published()) === "Acknowledged");
    await apply({ lots: [{ id: "a", startMinor: 200 }] });
    await until("new rules are asked for", () => archival("n1").calls.includes("rules"));
    await until("they are there", async () => (await published()) === "Acknowledged");
    archival("n1").refuseRules = "the auction is open";
    await apply({ lots: [{ id: "a", startMinor: 300 }] });
    await until("it is told", async () => (await published()) === "RejectedAuctionOpen");
  });

  test("an operator's upgrade waits while bids are taken, and is rolled out afterwards", async () => {
    const old = startOperator();
    await bringToOpen();
    await until(
      "revisions are kept",
      async () => (await list(KINDS.ControllerRevision)).length >= 6,
    );
    await old.stop();
    startOperator({ images: { ...SETTINGS.images, gavel: "gavel:2" } });
    await until("it is told", async () => (await conditionOf("UpdatePending"))?.status === "True");
    const image = async () =>
      (await read(KINDS.Deployment, "n1-gateway"))!["spec"].template.spec.containers[0].image;
    expect(await image()).toBe("gavel:1");
    const gateway = { ...KINDS.Deployment, namespace, name: "n1-gateway" };
    await cluster.jsonPatch(gateway, [
      { op: "replace", path: "/spec/template/spec/containers/0/image", value: "evil:1" },
    ]);
    await until("drift is put back to what runs", async () => (await image()) === "gavel:1");
    await apply({ schedule: { lasts: "30m" }, tiers: { gateway: { replicas: 3 } } });
    const replicas = async () => (await read(KINDS.Deployment, "n1-gateway"))!["spec"].replicas;
    await until("scaling does not wait", async () => (await replicas()) === 3);
    expect(await image()).toBe("gavel:1");
    archival("n1").closeNow();
    await until("it is settled", async () => (await readAuction())?.status?.phase === "Settled");
    await until("it is rolled out", async () => (await image()) === "gavel:2");
  });

  test("a count that goes over to an autoscaler does not fall to one", async () => {
    startOperator();
    await bringToOpen({ tiers: { gateway: { replicas: 7 } } });
    const replicas = async () => (await read(KINDS.Deployment, "n1-gateway"))!["spec"].replicas;
    expect(await replicas()).toBe(7);
    const autoscaling = { minReplicas: 2, maxReplicas: 9 };
    await apply({ schedule: { lasts: "30m" }, tiers: { gateway: { autoscaling } } });
    await until("it is there", () => read(KINDS.HorizontalPodAutoscaler, "n1-gateway"));
    expect(await replicas()).toBe(7);
    const scale = [{ op: "replace", path: "/spec/replicas", value: 9 }] as const;
    await cluster.jsonPatch({ ...KINDS.Deployment, namespace, name: "n1-gateway" }, [...scale]);
    await apply({
      schedule: { lasts: "30m" },
      tiers: { gateway: { autoscaling: { ...autoscaling, maxReplicas: 10 } } },
    });
    await until("the change is through", async () => {
      const found = await read(KINDS.HorizontalPodAutoscaler, "n1-gateway");
      return found!["spec"].maxReplicas === 10;
    });
    expect(await replicas()).toBe(9);
    await apply({ schedule: { lasts: "30m" }, tiers: { gateway: { replicas: 2 } } });
    await until(
      "it is pruned",
      async () => !(await read(KINDS.HorizontalPodAutoscaler, "n1-gateway")),
    );
    await until("the count is ours again", async () => (await replicas()) === 2);
  });

  test("paused, nothing is written but the status", async () => {
    startOperator();
    await bringToOpen();
    await apply({ schedule: { lasts: "30m" } }, "n1", {
      annotations: { "gavel.dev/reconcile": "paused" },
    });
    await until("it is told", async () => (await conditionOf("Paused"))?.status === "True");
    await cluster.remove({ ...KINDS.Service, namespace, name: "n1-gateway" });
    const before = archival("n1").calls.length;
    await until("a look passed", async () => {
      const { observedAt } = (await readAuction())!.status!.activity!;
      return Date.parse(observedAt!) > Date.now() - 60_000;
    });
    expect(await read(KINDS.Service, "n1-gateway")).toBeNull();
    expect(archival("n1").calls.length).toBe(before);
    await apply({ schedule: { lasts: "30m" } }, "n1", { annotations: {} });
    await until("it goes on", () => read(KINDS.Service, "n1-gateway"));
  });

  test("deleted while open: fenced, proven, cleaned, gone; the operator is killed at each step", async () => {
    let operator = startOperator();
    await bringToOpen();
    const stub = archival("n1");
    stub.now = { ...stub.now, lastId: "2000-0", relayedId: "1000-0", archivedId: "1000-0" };
    stub.stuck.add("fence").add("verify").add("clean");
    await cluster.remove({ ...AUCTION, namespace, name: "n1" });
    const restartAt = async (step: string) => {
      const at = async () => (await readAuction())?.status?.drain?.step === step;
      await until(`the drain is at ${step}`, at);
      await operator.stop();
      operator = startOperator();
    };
    await restartAt("StopIntake");
    stub.stuck.delete("fence");
    await restartAt("FlushOutbox");
    expect(stub.now.fencedId).toBe("2000-0");
    stub.now = { ...stub.now, relayedId: "2000-0" };
    await restartAt("DrainStream");
    expect(stub.calls).not.toContain("verify");
    expect(await read(KINDS.Deployment, "n1-archival")).not.toBeNull();
    await cluster.remove({ ...KINDS.Deployment, namespace, name: "n1-archival" });
    await until("archival is put back, it is needed", () => read(KINDS.Deployment, "n1-archival"));
    stub.now = { ...stub.now, archivedId: "2000-0" };
    await restartAt("Verify");
    arePodsHeld = true;
    stub.stuck.delete("verify");
    await restartAt("CloseBroadcast");
    expect(stub.calls).not.toContain("clean");
    arePodsHeld = false;
    await restartAt("Cleanup");
    stub.stuck.delete("clean");
    await until("it is gone", async () => (await readAuction()) === null);
    expect(stub.calls.slice(-3)).toEqual(["fence", "verify", "clean"]);
    for (const kind of [
      KINDS.Deployment,
      KINDS.StatefulSet,
      KINDS.Service,
      KINDS.ControllerRevision,
    ]) {
      const left = (await list(kind)).filter(({ metadata }) => !metadata.deletionTimestamp);
      expect(left.map(({ metadata }) => metadata.name)).toEqual([]);
    }
    const secrets = (await list(KINDS.Secret)).map(({ metadata }) => metadata.name);
    expect(secrets).toEqual(["n1-postgres"]); // The password of the volume that is kept.
  }, 180_000);

  test("a drain that cannot end is held and told, and released by its own uid only", async () => {
    startOperator();
    await bringToOpen({ deletion: { drainTimeout: "10s" } });
    archival("n1").reachable = false;
    await cluster.remove({ ...AUCTION, namespace, name: "n1" });
    const stalled = async () => (await conditionOf("Stalled"))?.reason === "DrainTimedOut";
    await until("it is told", stalled);
    const annotate = (value: string) =>
      cluster.jsonPatch({ ...AUCTION, namespace, name: "n1" }, [
        { op: "add", path: "/metadata/annotations", value: { "gavel.dev/force-release": value } },
      ]);
    await annotate("somebody-else");
    const before = (await readAuction())!;
    expect(before.metadata.finalizers).toEqual([FINALIZER]);
    await annotate(before.metadata.uid);
    await until("it is gone", async () => (await readAuction()) === null);
  });

  test("100 Auctions are reconciled with bounded memory and connections", async () => {
    clearInterval(podsRunning);
    for (let i = 0; i < 100; i++) await apply({ schedule: { lasts: "30m" } }, `many-${i}`);
    const startedMs = performance.now();
    const before = process.memoryUsage().rss;
    startOperator();
    const all = async () => {
      const auctions = (await list(AUCTION)) as unknown as StoredAuction[];
      const done = auctions.filter(({ status }) => status?.observedGeneration !== undefined).length;
      return done >= 100;
    };
    await until("all have a status", all, 240_000);
    const seconds = (performance.now() - startedMs) / 1_000;
    const deployments = (await list(KINDS.Deployment)).length;
    const connections = openConnectionsTo(server.url);
    const grownMiB = (process.memoryUsage().rss - before) / 1024 ** 2;
    console.log(
      `100 Auctions: ${deployments} Deployments, first status of all after ${seconds.toFixed(1)} s, ` +
        `${connections} connections to the API server, resident memory grew by ${grownMiB.toFixed(0)} MiB`,
    );
    expect(deployments).toBe(300);
    expect(connections).toBeLessThanOrEqual(40);
    expect(grownMiB).toBeLessThan(300);
  }, 300_000);
});
