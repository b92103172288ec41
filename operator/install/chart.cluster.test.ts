/** The rendered chart, validated by the schemas that a real API server publishes, and by the server itself. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { parse, stringify } from "yaml";
import { beforeAll, describe, expect, test } from "vitest";
import { until } from "../../services/testing/until.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { connectCluster, type Cluster } from "../kube/client.ts";
import { installManifest, renderChart } from "./install-manifest.ts";
import { OPERATOR_NAMESPACE } from "./chart.ts";
import { hasProgram, runProgram } from "../../servers/run-program.ts";
import { type AnyObject, groupPath, KINDS } from "../kube/object.ts";
import { startApiServer, type TestApiServer } from "../testing/api-server.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";
import { auctionsIn } from "./uninstall-guard.ts";
import { schemaLocation, writeSchemas } from "../testing/openapi-schemas.ts";

const START_TIMEOUT_MS = 180_000;
const GROUPS = ["apps/v1", "policy/v1", "batch/v1", "networking.k8s.io/v1"].concat([
  "rbac.authorization.k8s.io/v1",
  "apiextensions.k8s.io/v1",
]);
/** Every optional object at once. The CRDs of PodMonitor and PrometheusRule belong to the Prometheus operator. */
const EVERYTHING = [
  "--set",
  "networkPolicy.enabled=true,tiers.otlpEndpoint=http://otlp:4318",
  "--set",
  "metrics.dashboards.enabled=true",
];

const schemas = mkdtempSync(join(tmpdir(), "gavel-schemas-"));
let cluster: Cluster;
let server: TestApiServer;
let dispatcher: Agent;

async function ask(path: string, more: object = {}, contentType = "application/json") {
  const headers = { authorization: `Bearer ${server.token}`, "content-type": contentType };
  const { statusCode, body } = await request(server.url + path, { dispatcher, headers, ...more });
  const text = await body.text();
  return { ok: statusCode < 300, text, body: text.startsWith("{") ? JSON.parse(text) : null };
}

async function get(path: string): Promise<unknown> {
  const { ok, text, body } = await ask(path);
  if (!ok) throw new Error(`${path}: ${text}`);
  return body;
}

/** Applies an object of any kind as a server-side dry run. @returns null if it is accepted */
async function dryRun(object: AnyObject): Promise<string | null> {
  const { apiVersion, kind, metadata } = object;
  const known = Object.values(KINDS).find((one) => one.kind === kind);
  const place = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  const plural = known?.plural ?? `${kind.toLowerCase()}s`;
  const path = `${groupPath(apiVersion)}${place}/${plural}/${metadata.name}`;
  const query = "dryRun=All&fieldManager=test&force=true&fieldValidation=Strict";
  const { ok, body, text } = await ask(
    `${path}?${query}`,
    { method: "PATCH", body: JSON.stringify(object) },
    "application/apply-patch+yaml",
  );
  return ok ? null : (body?.message ?? text);
}

/** @throws Error with kubeconform's findings */
const judge = (yaml: string) =>
  runProgram(
    "kubeconform",
    ["-strict", "-summary", "-schema-location", schemaLocation(schemas), "-"],
    { input: yaml },
  );

const yamlOf = (objects: readonly object[]) =>
  objects.map((object) => stringify(object, { aliasDuplicateObjects: false })).join("---\n");

const VARIANTS: readonly [what: string, words: readonly string[]][] = [
  ["its own values", []],
  ["everything that is optional", EVERYTHING],
  ["namespaces of its own", ["--set", `watchNamespaces={default,${OPERATOR_NAMESPACE}}`]],
];

const missing = [
  ...(hasProgram("helm") ? [] : ["helm"]),
  ...(canRunApiServer() ? [] : ["kube-apiserver"]),
];

describe.skipIf(missing.length > 0)(`the chart on an API server ${missing.join(", ")}`, () => {
  beforeAll(async () => {
    server = await startApiServer();
    cluster = connectCluster({
      kubeconfigFile: server.kubeconfigFile,
      customKinds: [AUCTION_KIND],
    });
    const install = await installManifest();
    const [namespace, ...others] = install!.split("---\n");
    const crd = others.find((text) => text.includes("kind: CustomResourceDefinition"))!;
    for (const text of [namespace!, crd]) await applyYaml(text);

    dispatcher = new Agent({ connect: { ca: server.ca } });
    await until("the Auction's schema is published", async () => {
      const { paths } = (await get("/openapi/v3")) as { paths: object };
      return "apis/gavel.dev/v1alpha1" in paths;
    });
    const groups = [...GROUPS, "gavel.dev/v1alpha1"].map((group) => `apis/${group}`);
    await writeSchemas(schemas, get, ["api/v1", ...groups]);
  }, START_TIMEOUT_MS);

  async function applyYaml(text: string): Promise<void> {
    await cluster.apply(parse(text) as AnyObject, { manager: "test", force: true });
  }

  describe.skipIf(!hasProgram("kubeconform"))("kubeconform -strict (needs kubeconform)", () => {
    test.each(VARIANTS)("accepts %s", async (_what, words) => {
      expect(await judge(yamlOf(await renderChart(words)))).toContain("Invalid: 0, Errors: 0");
    });

    test.each(["install.yaml", "samples/spring-sale.yaml"])("accepts %s, too", async (name) => {
      const text = readFileSync(new URL(`../../manifests/${name}`, import.meta.url), "utf8");
      expect(await judge(text)).toContain("Invalid: 0, Errors: 0, Skipped: 0");
    });

    test("refuses an unknown field deep inside a pod", async () => {
      const objects = (await renderChart()) as AnyObject[];
      const deployment = objects.find(({ kind }) => kind === "Deployment")!;
      deployment["spec"].template.spec.containers[0].imagePolicy = "Always";
      await expect(judge(yamlOf([deployment]))).rejects.toThrow(/imagePolicy/);
    });
  });

  test.each(VARIANTS)("the API server accepts %s", async (_what, words) => {
    const refused: string[] = [];
    for (const object of (await renderChart(words)) as AnyObject[]) {
      const answer = await dryRun(object);
      if (answer !== null) refused.push(`${object.kind} ${object.metadata.name}: ${answer}`);
    }
    expect(refused).toEqual([]);
  });

  test("the uninstall guard finds the Auctions of the watched namespaces", async () => {
    expect(await auctionsIn(cluster, [])).toEqual([]);
    const sample = readFileSync(
      new URL("../../manifests/samples/spring-sale.yaml", import.meta.url),
    );
    const { metadata, ...auction } = parse(sample.toString()) as AnyObject;
    const placed = { ...auction, metadata: { ...metadata, namespace: "default" } } as AnyObject;
    await cluster.apply(placed, { manager: "test", force: true });
    const names = async (...namespaces: string[]) =>
      (await auctionsIn(cluster, namespaces)).map((one) => one.metadata.name);
    expect(await names()).toEqual(["spring-sale"]);
    expect(await names("default", OPERATOR_NAMESPACE)).toEqual(["spring-sale"]);
    expect(await names(OPERATOR_NAMESPACE)).toEqual([]);
  });

  test("Pod Security accepts the operator's pods", async () => {
    const pods = ((await renderChart()) as AnyObject[]).flatMap((object) => {
      if (object.kind === "Pod") return [object];
      if (object.kind !== "Deployment" && object.kind !== "Job") return [];
      const { metadata, spec } = object["spec"].template;
      const { name } = object.metadata;
      return [{ apiVersion: "v1", kind: "Pod", metadata: { ...metadata, name }, spec }];
    });
    expect(pods).toHaveLength(3);
    for (const pod of pods) {
      const { serviceAccountName: _, ...spec } = pod["spec"];
      const metadata = { ...pod.metadata, namespace: OPERATOR_NAMESPACE };
      const sent = { ...pod, metadata, spec };
      await cluster.apply(sent, { manager: "test", force: true, dryRun: true });
    }
  });
});
