/** Elections, watches and events on a real API server, also while it is killed. */
import { Counter } from "prom-client";
import { pino } from "pino";
import { beforeAll, describe, expect, test } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { withMargin } from "../../services/testing/margin.ts";
import { until } from "../../services/testing/until.ts";
import { type Cluster, connectCluster } from "./client.ts";
import { EventRecorder } from "./event-recorder.ts";
import { type AnyObject, KINDS } from "./object.ts";
import { runAsLeader, type LeaseTiming, microTime } from "./leader-election.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";
import { Reflector } from "./reflector.ts";

const log = pino({ level: "silent" });
const manager = "test-operator";
const TIMING: LeaseTiming = { leaseMs: 2_000, renewWithinMs: 1_200, retryMs: 200 };

interface LeaseObject extends AnyObject {
  spec: {
    holderIdentity: string;
    leaseDurationSeconds: number;
    leaseTransitions: number;
    renewTime: string;
    acquireTime: string;
  };
}

describe.skipIf(!canRunApiServer())("with a real API server", () => {
  let server: TestApiServer;
  let cluster: Cluster;

  beforeAll(async () => {
    server = await startApiServer();
    cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile });
    afterFile(() => cluster.close());
  }, 180_000);

  /** An operator that runs the leader election only. */
  function elect(name: string, identity: string, timing = TIMING) {
    const stopping = new AbortController();
    const seen = { leads: false, sinceMs: 0, untilMs: 0 };
    const work = (signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        seen.leads = true;
        seen.sinceMs = performance.now();
        signal.addEventListener("abort", () => {
          seen.leads = false;
          seen.untilMs = performance.now();
          resolve();
        });
      });
    const options = { cluster, namespace: "default", name, identity, log, timing };
    const result = runAsLeader(options, work, stopping.signal);
    afterFile(() => stopping.abort());
    return { seen, result, stop: () => stopping.abort() };
  }

  const leaseOf = async (name: string) =>
    (await cluster.get<LeaseObject>({ ...KINDS.Lease, namespace: "default", name }))!;

  test("one of two candidates leads, and the other takes over at once when the leader stops", async () => {
    const first = elect("handover", "first");
    await until("the first leads", () => first.seen.leads);
    const second = elect("handover", "second");
    const lease = await leaseOf("handover");
    expect(lease.spec).toMatchObject({
      holderIdentity: "first",
      leaseDurationSeconds: 2,
      leaseTransitions: 0,
    });
    expect(lease.spec.renewTime).toMatch(/\.\d{6}Z$/);
    await until(
      "it was renewed",
      async () => (await leaseOf("handover")).spec.renewTime > lease.spec.renewTime,
    );
    expect((await leaseOf("handover")).spec.acquireTime).toBe(lease.spec.acquireTime);
    expect(second.seen.leads).toBe(false);

    first.stop();
    expect(await first.result).toBe("stopped");
    expect((await leaseOf("handover")).spec.holderIdentity).not.toBe("first");
    const releasedAtMs = performance.now();
    await until("the second leads", () => second.seen.leads);
    expect(second.seen.sinceMs - releasedAtMs).toBeLessThan(withMargin(1_500));
    expect((await leaseOf("handover")).spec).toMatchObject({
      holderIdentity: "second",
      leaseTransitions: 1,
    });
  });

  test("a dead holder is succeeded after the lease duration in its record", async () => {
    const now = microTime();
    const spec = {
      holderIdentity: "dead",
      leaseDurationSeconds: 3,
      leaseTransitions: 4,
      // The holder's clock was a day ahead: it must have no effect.
      renewTime: microTime(Date.now() + 86_400_000),
      acquireTime: now,
    };
    const { apiVersion, kind } = KINDS.Lease;
    const metadata = { namespace: "default", name: "dead" };
    await cluster.createIfAbsent({ apiVersion, kind, metadata, spec } as AnyObject, { manager });
    const beganMs = performance.now();
    const next = elect("dead", "next");
    await until("the successor leads", () => next.seen.leads);
    expect(next.seen.sinceMs - beganMs).toBeGreaterThan(3_000);
    expect(next.seen.sinceMs - beganMs).toBeLessThan(withMargin(5_000));
    expect((await leaseOf("dead")).spec).toMatchObject({
      holderIdentity: "next",
      leaseTransitions: 5,
    });
  });

  test("a holder that lost its Lease stops, and does not take it back", async () => {
    const holder = elect("stolen", "holder");
    await until("the candidate leads", () => holder.seen.leads);
    await until("the other candidate holds the Lease", async () => {
      const lease = await leaseOf("stolen");
      const stolen = { ...lease, spec: { ...lease.spec, holderIdentity: "thief" } };
      return cluster.replace(stolen, { manager }).catch(() => null);
    });
    expect(await holder.result).toBe("lost");
    expect((await leaseOf("stolen")).spec.holderIdentity).toBe("thief");
  });

  test("a stalled process stops leading first, although the Lease still names it", async () => {
    const stalled = elect("stalled", "stalled");
    await until("the candidate leads", () => stalled.seen.leads);
    const untilMs = performance.now() + TIMING.renewWithinMs + 300;
    while (performance.now() < untilMs); // The event loop stands still.
    expect(await stalled.result).toBe("lost");
    // The Lease has not expired: no other process may lead yet.
    expect(stalled.seen.untilMs - untilMs).toBeLessThan(
      TIMING.leaseMs - TIMING.renewWithinMs - 300,
    );
  });

  test("equal notes are one event with a count, another note is another event", async () => {
    const droppedEvents = new Counter({ name: "dropped", help: "Dropped.", registers: [] });
    const about = await cluster.apply<AnyObject>(
      { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "default", name: "news" } },
      { manager, force: true },
    );
    const recorder = new EventRecorder({
      cluster,
      controller: "gavel.dev/operator",
      instance: "operator-0",
      log,
      droppedEvents,
    });
    const opened = { type: "Normal", reason: "Opened", action: "Open", note: "doors are open" };
    for (let i = 0; i < 20; i++) recorder.record(about, opened as never);
    recorder.record(about, { ...opened, note: "é".repeat(2_000) } as never);
    await recorder.flush();
    const of = async () =>
      (await cluster.list<AnyObject>(KINDS.Event, { namespace: "default" })).filter(
        (event) => event["regarding"]?.uid === about.metadata.uid,
      );
    const events = await of();
    expect(events.length).toBe(2);
    const counted = events.find((event) => event["note"] === "doors are open")!;
    expect(counted["series"]).toMatchObject({ count: 20 });
    expect(counted).toMatchObject({
      reportingController: "gavel.dev/operator",
      reportingInstance: "operator-0",
      action: "Open",
      reason: "Opened",
    });
    for (let i = 0; i < 40; i++) {
      recorder.record(about, { ...opened, note: `news ${i}` } as never);
    }
    await recorder.flush();
    expect((await of()).length).toBe(25);
    expect((await droppedEvents.get()).values[0]!.value).toBe(17);
    recorder.record(about, { ...opened, type: "Nonsense", note: "refused" } as never);
    await recorder.flush();
  });

  test("a watch, a Lease and a cache survive a restart of the API server", async () => {
    const emitted = new Set<string>();
    const reflector = new Reflector<AnyObject>({
      cluster,
      kind: KINDS.ConfigMap,
      namespace: "default",
      log,
      labelSelector: "watched=yes",
      emit: (key) => emitted.add(key),
    });
    afterFile(() => reflector.stop());
    reflector.start();
    await reflector.whenSynced(60_000);
    const configMap = (name: string): AnyObject => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: "default", name, labels: { watched: "yes" } },
    });
    const apply = (name: string) => cluster.apply(configMap(name), { manager, force: true });
    await apply("before");
    await until("the change is emitted", () => emitted.has("default/before"));
    expect(reflector.get("default/before")!.metadata.managedFields).toBeUndefined();

    const patient = elect("patient", "patient", {
      leaseMs: 60_000,
      renewWithinMs: 50_000,
      retryMs: 200,
    });
    await until("the candidate leads", () => patient.seen.leads);
    await server.kill();
    await server.restart();
    await until("the server accepts the change", () => apply("after").catch(() => null));
    await until("the change is emitted", () => emitted.has("default/after"));
    const { renewTime } = (await leaseOf("patient")).spec;
    await until(
      "the Lease is renewed",
      async () => (await leaseOf("patient")).spec.renewTime > renewTime,
    );
    expect(patient.seen.leads).toBe(true);
    expect(reflector.all().length).toBe(2);
    patient.stop();
  });

  test("a leader stops leading when the server is unreachable for too long", async () => {
    const cut = elect("cut", "cut");
    await until("the candidate leads", () => cut.seen.leads);
    await server.kill();
    const killedMs = performance.now();
    expect(await cut.result).toBe("lost");
    expect(cut.seen.untilMs - killedMs).toBeLessThan(TIMING.leaseMs);
  });
});
