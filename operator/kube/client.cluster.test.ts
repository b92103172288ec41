/** The client's verbs on a real API server. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Registry } from "prom-client";
import { beforeAll, describe, expect, test } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { freePort } from "../../servers/ports.ts";
import { type FieldConflict, isApiError } from "./api-error.ts";
import { type Cluster, connectCluster } from "./client.ts";
import { type AnyObject, KINDS, refOf } from "./object.ts";
import { createKubeMetrics } from "./metrics.ts";
import { kubeconfig, startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { openConnectionsTo } from "../testing/connections.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";

const manager = "test-operator";
const force = true as const;

const configMap = (name: string, data: Record<string, string> = {}): AnyObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { namespace: "default", name },
  data,
});

const deployment = (name: string, spec: object = {}): AnyObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { namespace: "default", name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "main", image: "none" }] },
    },
    ...spec,
  },
});

const kindOf = (call: Promise<unknown>) =>
  call.then(
    () => "no error",
    (error: unknown) => (isApiError(error) ? error.kind : error),
  );

describe.skipIf(!canRunApiServer())("a cluster's verbs", () => {
  let server: TestApiServer;
  let cluster: Cluster;

  beforeAll(async () => {
    server = await startApiServer();
    cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile });
    afterFile(() => cluster.close());
  }, 180_000);

  test("a missing object is read as null, and its removal returns false", async () => {
    expect(cluster.namespace).toBe("default");
    const ref = refOf(configMap("nothing"));
    expect(await cluster.get(ref)).toBeNull();
    expect(await cluster.remove(ref)).toBe(false);
    expect(await cluster.jsonPatch(ref, [{ op: "add", path: "/data", value: {} }])).toBeNull();
    expect(await cluster.applyStatus(deployment("nothing"), manager)).toBeNull();
  });

  test("an apply creates, changes, and has no effect if nothing differs", async () => {
    const first = await cluster.apply(configMap("a", { x: "1" }), { manager, force });
    const same = await cluster.apply(configMap("a", { x: "1" }), { manager, force });
    expect(same.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    const dry = await cluster.apply(configMap("a", { x: "2" }), { manager, force, dryRun: true });
    expect(dry["data"]).toEqual({ x: "2" });
    expect((await cluster.get<AnyObject>(refOf(first)))!["data"]).toEqual({ x: "1" });
    const changed = await cluster.apply(configMap("a", { y: "1" }), { manager, force });
    expect(changed["data"]).toEqual({ y: "1" });
  });

  test("fields of another manager are taken over, and reported", async () => {
    const metrics = createKubeMetrics(new Registry());
    const counting = connectCluster({ kubeconfigFile: server.kubeconfigFile, metrics });
    afterFile(() => counting.close());
    await counting.apply(configMap("b", { x: "theirs" }), { manager: "somebody", force });
    const lost: FieldConflict[] = [];
    const ours = await counting.apply(configMap("b", { x: "ours" }), {
      manager,
      force,
      onConflict: (fields) => lost.push(...fields),
    });
    expect(ours["data"]).toEqual({ x: "ours" });
    expect(lost).toEqual([{ field: ".data.x", message: 'conflict with "somebody"' }]);
    expect((await metrics.ssaConflicts.get()).values).toMatchObject([
      { labels: { manager }, value: 1 },
    ]);
    const again = await counting.apply(configMap("b", { x: "ours" }), { manager, force });
    expect(again.metadata.resourceVersion).toBe(ours.metadata.resourceVersion);
  });

  test("an unknown field is refused as invalid, although the server answers 500", async () => {
    const unknown = deployment("c", { someFutureField: 1 });
    expect(await kindOf(cluster.apply(unknown, { manager, force }))).toBe("invalid");
    expect(await kindOf(cluster.createIfAbsent(unknown, { manager }))).toBe("invalid");
    const wrong = deployment("c", { replicas: -1 });
    expect(await kindOf(cluster.apply(wrong, { manager, force }))).toBe("invalid");
  });

  test("an apply with a uid changes that object and creates no other", async () => {
    const made = await cluster.apply(configMap("d"), { manager, force });
    const { uid } = made.metadata;
    await cluster.remove(refOf(made), { uid });
    const late = { ...made, metadata: { namespace: "default", name: "d", uid: uid! } };
    expect(await kindOf(cluster.apply(late, { manager, force }))).toBe("conflict");
    expect(await cluster.get(refOf(made))).toBeNull();
  });

  test("an equal status has no effect, and a status never changes the generation", async () => {
    await cluster.apply(deployment("e"), { manager, force });
    const status = (replicas: number): AnyObject => ({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { namespace: "default", name: "e" },
      status: { replicas, observedGeneration: 1 },
    });
    const first = (await cluster.applyStatus(status(3), `${manager}-status`))!;
    const same = (await cluster.applyStatus(status(3), `${manager}-status`))!;
    expect(same.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
    const changed = (await cluster.applyStatus(status(4), `${manager}-status`))!;
    expect(changed["status"]).toMatchObject({ replicas: 4 });
    expect(changed.metadata.generation).toBe(1);
  });

  test("a JSON patch whose test fails is a conflict, and so is a wrong precondition", async () => {
    const made = await cluster.apply(configMap("f", { x: "1" }), { manager, force });
    const ref = refOf(made);
    await cluster.jsonPatch(ref, [
      { op: "add", path: "/metadata/finalizers", value: ["gavel.dev/drain"] },
    ]);
    const releases = (finalizer: string) =>
      cluster.jsonPatch<AnyObject>(ref, [
        { op: "test", path: "/metadata/finalizers/0", value: finalizer },
        { op: "remove", path: "/metadata/finalizers/0" },
      ]);
    expect(await kindOf(releases("gavel.dev/other"))).toBe("conflict");
    const list = cluster.jsonPatch(ref, [
      { op: "test", path: "/metadata/finalizers", value: ["a", "b"] },
      { op: "remove", path: "/metadata/finalizers" },
    ]);
    expect(await kindOf(list)).toBe("conflict");
    const missing = cluster.jsonPatch(ref, [{ op: "remove", path: "/metadata/finalizers/7" }]);
    expect(await kindOf(missing)).toBe("conflict");
    const wrong = cluster.jsonPatch(ref, [{ op: "add", path: "/data/no such key", value: "x" }]);
    expect(await kindOf(wrong)).toBe("invalid");
    expect(await kindOf(cluster.remove(ref, { uid: "another" }))).toBe("conflict");
    expect(await kindOf(cluster.remove(ref, { resourceVersion: "1" }))).toBe("conflict");
    expect(await cluster.remove(ref)).toBe(true);
    expect((await cluster.get(ref))!.metadata.deletionTimestamp).toMatch(/^\d{4}-/);
    await releases("gavel.dev/drain");
    expect(await cluster.get(ref)).toBeNull();
  });

  test("createIfAbsent creates once, and a replace requires the resourceVersion that was read", async () => {
    const made = (await cluster.createIfAbsent(configMap("g", { x: "1" }), { manager }))!;
    expect(await cluster.createIfAbsent(configMap("g", { x: "2" }), { manager })).toBeNull();
    const replaced = await cluster.replace({ ...made, data: { x: "3" } }, { manager });
    expect(replaced["data"]).toEqual({ x: "3" });
    expect(await kindOf(cluster.replace(made, { manager }))).toBe("conflict");
  });

  test("a list has all pages, and its items have apiVersion and kind", async () => {
    const label = (i: number) => ({
      ...configMap(`page-${i}`),
      metadata: { namespace: "default", name: `page-${i}`, labels: { of: "pages" } },
    });
    for (let from = 0; from < 520; from += 40) {
      const batch = Array.from({ length: 40 }, (_, i) => label(from + i));
      await Promise.all(batch.map((object) => cluster.createIfAbsent(object, { manager })));
    }
    const selected = { namespace: "default", labelSelector: "of=pages" };
    const page = await cluster.listPage(KINDS.ConfigMap, selected, null);
    expect(page.items.length).toBe(500);
    const all = await cluster.list<AnyObject>(KINDS.ConfigMap, selected);
    expect(all.length).toBe(520);
    expect(all[0]).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
    expect(typeof all[0]!.metadata.creationTimestamp).toBe("string");
  });

  test("the kinds that the server serves are discovered", async () => {
    expect(await cluster.serves("apps/v1", "Deployment")).toBe(true);
    expect(await cluster.serves("apps/v1", "Nonsense")).toBe(false);
    expect(await cluster.serves("monitoring.coreos.com/v1", "PodMonitor")).toBe(false);
  });

  test("a wrong token is unauthorized, and an unreachable server is unavailable", async () => {
    const dir = dirname(server.kubeconfigFile);
    const connectAs = (name: string, as: Parameters<typeof kubeconfig>[0]) => {
      writeFileSync(join(dir, name), kubeconfig(as));
      const other = connectCluster({ kubeconfigFile: join(dir, name) });
      afterFile(() => other.close());
      return other.get(refOf(configMap("a")));
    };
    const { url, caFile, token } = server;
    expect(await kindOf(connectAs("wrong", { url, caFile, token: "no" }))).toBe("unauthorized");
    const nowhere = `https://127.0.0.1:${await freePort()}`;
    expect(await kindOf(connectAs("nowhere", { url: nowhere, caFile, token }))).toBe("unavailable");
  });

  test("a hundred requests share the lane's eight connections", async () => {
    const { url, kubeconfigFile } = server;
    const before = openConnectionsTo(url);
    const fresh = connectCluster({ kubeconfigFile });
    afterFile(() => fresh.close());
    const ref = refOf(configMap("a"));
    let most = 0;
    const reads = Array.from({ length: 50 }, () => fresh.get(ref));
    await Promise.all(
      reads.map((one) => one.then(() => (most = Math.max(most, openConnectionsTo(url))))),
    );
    for (let i = 0; i < 50; i++) await fresh.get(ref);
    most = Math.max(most, openConnectionsTo(url));
    expect(most - before).toBeLessThanOrEqual(8);
    expect(most - before).toBeGreaterThan(0);
  });

  test("a replaced CA file is used from the next request on", async () => {
    const dir = dirname(server.kubeconfigFile);
    const caFile = join(dir, "rotating-ca.pem");
    writeFileSync(caFile, otherCa(dir));
    const { url, token } = server;
    writeFileSync(join(dir, "rotating"), kubeconfig({ url, caFile, token }));
    const rotating = connectCluster({ kubeconfigFile: join(dir, "rotating") });
    afterFile(() => rotating.close());
    const ask = () => rotating.get(refOf(configMap("a")));
    expect(await kindOf(ask())).toBe("unavailable");
    writeFileSync(caFile, server.ca);
    expect(await ask()).not.toBeNull();
  });
});

/** The certificate of a CA that did not sign the server's certificate. */
function otherCa(dir: string): string {
  const [key, cert] = [join(dir, "other.key"), join(dir, "other.pem")];
  const subject = ["-subj", "/CN=other", "-days", "1", "-keyout", key, "-out", cert];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject], {
    stdio: "ignore",
  });
  return readFileSync(cert, "utf8");
}
