/** The chart as rendered by helm. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { beforeAll, describe, expect, test } from "vitest";
import { DASHBOARDS, dashboardText } from "../../dashboards/dashboards.ts";
import { GROUPS } from "../../dashboards/rule-files.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { OperatorEnv } from "../config.ts";
import { installManifest, KUBERNETES, renderChart } from "./install-manifest.ts";
import { chartValues, withSettings } from "../kind/install-operator.ts";
import { CHART, OPERATOR_NAMESPACE } from "./chart.ts";
import { hasProgram, runProgram } from "../../servers/run-program.ts";
import { type AnyObject, KINDS, type ServedKind } from "../kube/object.ts";

const hasHelm = hasProgram("helm");
const GOLDEN = join(import.meta.dirname, "../desired/golden");

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const render = async (...words: string[]) => (await renderChart(words)) as AnyObject[];
const ofKind = (objects: readonly AnyObject[], kind: string) =>
  objects.filter((object) => object.kind === kind);
const hookOf = ({ metadata }: AnyObject) => metadata.annotations?.["helm.sh/hook"];
const withoutHooks = (objects: readonly AnyObject[]) => objects.filter((one) => !hookOf(one));
const set = (value: string) => ["--set", value];

function containersOf(object: AnyObject): AnyObject[] {
  const spec = object.kind === "Pod" ? object["spec"] : object["spec"].template.spec;
  return spec.containers;
}

/** The RBAC rules of the operator, of all its roles. */
const operatorRules = (objects: readonly AnyObject[]): Rule[] =>
  withoutHooks(objects)
    .filter(({ kind, metadata }) => /Role$/.test(kind) && !/-auction-/.test(metadata.name))
    .flatMap((role) => role["rules"] as Rule[]);

describe.skipIf(!hasHelm)("the chart (needs helm)", () => {
  let objects: AnyObject[];
  let namespaced: AnyObject[];
  beforeAll(async () => {
    objects = await render();
    namespaced = await render(...set("watchNamespaces={sales,fairs}"));
  });

  test("passes helm lint --strict", async () => {
    await runProgram("helm", ["lint", "--strict", "--kube-version", KUBERNETES, CHART]);
  });

  test("manifests/install.yaml equals the rendered chart (make generate writes it)", async () => {
    const written = new URL("../../manifests/install.yaml", import.meta.url);
    expect(readFileSync(written, "utf8")).toBe(await installManifest());
  });

  test.each([
    ["an unknown value", "replcas=3"],
    ["an unknown value deep inside", "stores.redis.imge=x"],
    ["a word where a number belongs", "replicas=two"],
    ["replicas without an election", "leaderElection=false"],
    ["root for a store", "stores.redis.uid=0"],
    ["a namespace that cannot be", "watchNamespaces={Sales}"],
    ["the same namespace twice", "watchNamespaces={a,a}"],
    ["a log level that there is not", "logLevel=loud"],
    ["a pull policy that there is not", "image.pullPolicy=Sometimes"],
    ["a collector without a scheme", "tiers.otlpEndpoint=collector:4318"],
  ])("values.schema.json refuses %s", async (_what, value) => {
    await expect(render(...set(value))).rejects.toThrow(/values don't meet the specifications/);
  });

  test("one replica has no leader election and no disruption budget", async () => {
    const one = await render(...set("replicas=1,leaderElection=false"));
    expect(ofKind(one, "PodDisruptionBudget")).toEqual([]);
    expect(ofKind(objects, "PodDisruptionBudget")).toHaveLength(1);
  });

  test("all values have a comment and are in the schema", () => {
    const text = readFileSync(join(CHART, "values.yaml"), "utf8");
    const schema = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8"));
    const top = Object.keys(parse(text) as object);
    expect(top.filter((name) => !(name in schema.properties))).toEqual([]);
    const bare = text
      .split("\n\n")
      .filter((block) => !block.startsWith("#") && !/^\s*#/m.test(block));
    const plain = ["resources:", "crds:", "serviceAccount:", "rbac:", "tiers:"];
    expect(bare.filter((block) => !plain.some((name) => block.startsWith(name)))).toEqual([]);
  });

  test("the operator never lists or watches Secrets, in either mode", () => {
    for (const rules of [operatorRules(objects), operatorRules(namespaced)]) {
      const secrets = rules.filter(({ resources }) => resources.includes("secrets"));
      const verbs = new Set(secrets.flatMap((rule) => rule.verbs));
      expect([...verbs].sort()).toEqual(["create", "delete", "get", "patch"]);
    }
  });

  test("no rule has a wildcard, and the operator cannot create roles", () => {
    const rules = [...objects, ...namespaced].flatMap(
      (object) => (object["rules"] ?? []) as Rule[],
    );
    const words = rules.flatMap(({ apiGroups, resources, verbs }) => [apiGroups, resources, verbs]);
    expect(words.flat()).not.toContain("*");
    expect(rules.flatMap(({ apiGroups }) => apiGroups)).not.toContain("rbac.authorization.k8s.io");
  });

  test("the operator has each verb that it uses, for every kind of an Auction's objects", () => {
    const made = new Map<string, { apiVersion: string; kind: string }>();
    for (const file of readdirSync(GOLDEN)) {
      const text = readFileSync(join(GOLDEN, file), "utf8");
      for (const [, apiVersion, kind] of text.matchAll(
        /^(?:- )?\s*apiVersion: (\S+)\n\s*kind: (\S+)$/gm,
      )) {
        made.set(`${apiVersion}/${kind}`, { apiVersion: apiVersion!, kind: kind! });
      }
    }
    expect(made.size).toBeGreaterThan(8);
    const kinds: readonly ServedKind[] = Object.values(KINDS);
    made.set("revision", KINDS.ControllerRevision);
    made.delete("v1/PersistentVolumeClaim"); // made by the StatefulSet's controller
    const missing = [operatorRules(objects), operatorRules(namespaced)].flatMap((rules) =>
      [...made.values()].flatMap(({ apiVersion, kind }) => {
        const group = apiVersion.includes("/") ? apiVersion.split("/")[0]! : "";
        const { plural } = kinds.find((one) => one.apiVersion === apiVersion && one.kind === kind)!;
        const verbs = rules
          .filter(
            ({ apiGroups, resources }) => apiGroups.includes(group) && resources.includes(plural),
          )
          .flatMap((rule) => rule.verbs);
        const needed = ["get", "create", "patch", "delete"];
        if (kind !== "Secret") needed.push("list", "watch");
        return needed.filter((verb) => !verbs.includes(verb)).map((verb) => `${verb} ${plural}`);
      }),
    );
    expect(missing).toEqual([]);
  });

  test("with watchNamespaces there is a Role in each of them, and nothing for the whole cluster", () => {
    const kinds = namespaced.map(({ kind }) => kind).filter((kind) => kind.startsWith("Cluster"));
    expect(kinds).toEqual([]);
    const places = ofKind(withoutHooks(namespaced), "Role").map(
      ({ metadata }) => metadata.namespace,
    );
    expect(places.sort()).toEqual(["fairs", OPERATOR_NAMESPACE, "sales"]);
    const [operator] = ofKind(namespaced, "Deployment");
    const env = containersOf(operator!)[0]!["env"] as { name: string; value?: string }[];
    expect(env.find(({ name }) => name === "WATCH_NAMESPACES")?.value).toBe("sales,fairs");
  });

  test("every role is bound to a ServiceAccount of the chart", () => {
    for (const all of [objects, namespaced]) {
      const accounts = ofKind(all, "ServiceAccount").map(({ metadata }) => metadata);
      const known = accounts.map(({ name, namespace }) => `${namespace}/${name}`);
      const bindings = all.filter(({ kind }) => kind.endsWith("RoleBinding"));
      const bound = bindings.flatMap((binding) =>
        (binding["subjects"] as { name: string; namespace: string }[]).map(
          ({ name, namespace }) => `${namespace}/${name}`,
        ),
      );
      expect(bound.filter((account) => !known.includes(account))).toEqual([]);
      const roles = all.filter(({ kind }) => kind.endsWith("Role"));
      const free = roles.filter(
        ({ kind, metadata }) =>
          !/-auction-(view|edit)$/.test(metadata.name) &&
          !bindings.some(
            ({ roleRef, metadata: of }) =>
              roleRef.kind === kind &&
              roleRef.name === metadata.name &&
              of.namespace === metadata.namespace,
          ),
      );
      expect(free.map(({ metadata }) => metadata.name)).toEqual([]);
    }
  });

  test("the aggregated roles view and edit cover Auctions, and nothing else", () => {
    const aggregated = objects.filter(({ metadata }) =>
      Object.keys(metadata.labels ?? {}).some((label) => label.includes("/aggregate-to-")),
    );
    expect(aggregated).toHaveLength(2);
    const resources = aggregated.flatMap((role) =>
      (role["rules"] as Rule[]).flatMap((r) => r.resources),
    );
    expect([...new Set(resources)].sort()).toEqual(["auctions", "auctions/status"]);
  });

  test("the operator accepts the environment of its pod", () => {
    const [operator] = ofKind(objects, "Deployment");
    const [container] = containersOf(operator!);
    const env = container!["env"] as { name: string; value?: string }[];
    const unknown = env.filter(({ name }) => !(name in OperatorEnv.properties));
    expect(unknown).toEqual([]);
    const given = Object.fromEntries(env.map(({ name, value }) => [name, value ?? "from-the-pod"]));
    const read = readEnv(OperatorEnv, given);
    expect(read.IMAGE).toBe(container!["image"]);
    // The tiers' NetworkPolicies admit pods with these labels.
    const labels = operator!["spec"].template.metadata.labels as Record<string, string>;
    for (const pair of read.POD_LABELS.split(",")) {
      const [key, value] = pair.split("=");
      expect(labels[key!]).toBe(value);
    }
  });

  test("probes use the port that the operator listens on", () => {
    const [operator] = ofKind(objects, "Deployment");
    const [container] = containersOf(operator!);
    const port = readEnv(OperatorEnv, {}).INTERNAL_PORT;
    expect(container!["ports"]).toEqual([{ name: "internal", containerPort: port }]);
    expect(container!["livenessProbe"].httpGet).toEqual({ path: "/livez", port: "internal" });
    expect(container!["readinessProbe"].httpGet).toEqual({ path: "/readyz", port: "internal" });
  });

  test("every pod is restricted", () => {
    const pods = objects.filter(({ kind }) => ["Deployment", "Job", "Pod"].includes(kind));
    expect(pods).toHaveLength(3);
    for (const pod of pods) {
      const spec = pod.kind === "Pod" ? pod["spec"] : pod["spec"].template.spec;
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
      for (const container of containersOf(pod)) {
        expect(container["securityContext"]).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          runAsNonRoot: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    }
  });

  test("the files that its pods run exist", () => {
    const pods = objects.filter(({ kind }) => ["Deployment", "Job", "Pod"].includes(kind));
    const programs = pods.flatMap(containersOf).map((container) => container["args"][1] as string);
    const root = new URL("../../", import.meta.url);
    for (const program of programs) readFileSync(new URL(program, root));
    expect(programs).toHaveLength(3);
  });

  test("the uninstall guard is a hook that a value turns off", async () => {
    const guards = (all: AnyObject[]) => all.filter((one) => hookOf(one) === "pre-delete");
    expect(
      guards(objects)
        .map(({ kind }) => kind)
        .sort(),
    ).toEqual(["ClusterRole", "ClusterRoleBinding", "Job", "ServiceAccount"]);
    expect(guards(await render(...set("uninstallGuard=false")))).toEqual([]);
  });

  test("dashboards and rules are rendered if enabled, and equal the files of dashboards/", async () => {
    const kinds = ["ConfigMap", "PrometheusRule", "PodMonitor"];
    expect(kinds.flatMap((kind) => ofKind(objects, kind))).toEqual([]);
    const all = await render(
      ...set("metrics.podMonitor=true,metrics.rules.enabled=true,metrics.dashboards.enabled=true"),
      ...set("metrics.labels.release=monitoring,metrics.rules.runbook=https://wiki/runbook"),
    );
    const maps = ofKind(all, "ConfigMap");
    const written = maps.flatMap(({ data }) => Object.entries(data as Record<string, string>));
    expect(written.map(([name]) => name).sort()).toEqual(
      Object.keys(DASHBOARDS)
        .map((name) => `${name}.json`)
        .sort(),
    );
    for (const [file, text] of written) {
      expect(`${text.trim()}\n`).toBe(dashboardText(file.replace(".json", "")));
    }
    for (const { metadata } of maps) expect(metadata.labels?.["grafana_dashboard"]).toBe("1");

    const [rule] = ofKind(all, "PrometheusRule");
    const text = JSON.stringify(GROUPS).replaceAll("RUNBOOK.md#", "https://wiki/runbook#");
    expect(rule?.["spec"]).toEqual({ groups: JSON.parse(text) });
    for (const kind of ["PrometheusRule", "PodMonitor"]) {
      expect(ofKind(all, kind)[0]?.metadata.labels?.["release"]).toBe("monitoring");
    }
  });

  test("the CRD can be left out, and has the keep annotation by default", async () => {
    const crds = (all: AnyObject[]) => ofKind(all, "CustomResourceDefinition");
    const policy = "helm.sh/resource-policy";
    expect(crds(objects)[0]?.metadata.annotations?.[policy]).toBe("keep");
    const [loose] = crds(await render(...set("crds.keep=false")));
    expect(loose?.metadata.annotations?.[policy]).toBeUndefined();
    expect(crds(await render(...set("crds.enabled=false")))).toEqual([]);
  });
});

test("other images replace every image of install.yaml", () => {
  const manifest = readFileSync(new URL("../../manifests/install.yaml", import.meta.url), "utf8");
  const images = {
    REDIS_IMAGE: "my/redis:1",
    NATS_IMAGE: "my/nats:1",
    POSTGRES_IMAGE: "my/postgres:1",
    REDIS_UID: 1,
    NATS_UID: 2,
    POSTGRES_UID: 3,
  };
  const text = withSettings(manifest, "my/gavel:1", images);
  expect(text.match(/my\/gavel:1/g)).toHaveLength(2);
  for (const image of ["redis", "nats", "postgres"]) expect(text).toContain(`my/${image}:1`);
  expect(text).not.toMatch(/image: gavel:|value: (redis|nats|postgres):/);
  const OTLP_ENDPOINT = "http://collector:4318";
  expect(text).not.toContain("OTLP_ENDPOINT");
  expect(withSettings(manifest, "my/gavel:1", { ...images, OTLP_ENDPOINT })).toContain(
    OTLP_ENDPOINT,
  );
  expect(chartValues("gavel:1", { ...images, OTLP_ENDPOINT })).toMatchObject({
    tiers: { otlpEndpoint: OTLP_ENDPOINT },
  });
  expect(chartValues("my.host:5000/gavel:1", images)).toMatchObject({
    image: { repository: "my.host:5000/gavel", tag: "1" },
  });
});
