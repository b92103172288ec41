import fc from "fast-check";
import { expect, test } from "vitest";
import { ArchivalEnv } from "../../services/archival/config.ts";
import { BroadcastEnv } from "../../services/broadcast/config.ts";
import { GatewayEnv } from "../../services/gateway/config.ts";
import { type Component, STORES, type StoreName, type TierName, TIERS } from "../api/components.ts";
import type { KubeObject } from "./kube-object.ts";
import { desired } from "./desired.ts";
import { podTemplateOf } from "./pod-template.ts";
import { storeAddressOf } from "./policies.ts";
import { mayConnect, type Place, type Pod, resolve, templatesOf } from "../testing/network.ts";
import { anySample, desiredInputsOf, type Sample, SAMPLES, stored } from "../testing/samples.ts";

/** Variables with addresses that a tier connects to. PASSED_ON is only sent to browsers. */
const CONNECTS = ["REDIS_URL_FILE", "NATS_URL_FILE", "POSTGRES_URL_FILE"];
const CONNECTS_TO = [
  "ARCHIVAL_URL",
  "TOKEN_JWKS_URL",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
const PASSED_ON = ["STREAM_URL"];

/** URLs as in the Secrets of External stores. */
const ELSEWHERE: Readonly<Record<StoreName, string>> = {
  redis: "redis://:p@redis.example.com:6380",
  nats: "nats://u:p@nats.messaging.svc:4222",
  postgres: "postgres://u:p@pg-rw/app",
};

interface Connection {
  readonly to: Place;
  readonly port: number;
  readonly what: string;
}

function podOf(objects: readonly KubeObject[], component: Component): Pod {
  const found = templatesOf(objects).find(
    ({ labels }) => labels["gavel.dev/component"] === component,
  );
  if (found === undefined) throw new Error(`no pods of ${component}`);
  return found;
}

/** With the addresses of External stores, as the operator reads them. */
function objectsOf({ auction, inputs }: Sample): KubeObject[] {
  const addresses = STORES.map((store) => [store, storeAddressOf(store, ELSEWHERE[store])]);
  return desired(auction, { ...inputs, external: Object.fromEntries(addresses) as object });
}

/** The addresses that a tier connects to, from its pod's environment and the Secrets that it references. */
function connectionsOf(
  tier: TierName,
  { auction, inputs }: Sample,
  objects: readonly KubeObject[],
): Connection[] {
  const { containers, volumes } = podTemplateOf(tier, auction, inputs).spec as {
    containers: {
      env: { name: string; value: string }[];
      volumeMounts: { name: string; mountPath: string }[];
    }[];
    volumes: { name: string; secret: { secretName: string; items: { key: string }[] } }[];
  };
  const { env, volumeMounts } = containers[0]!;
  const textOf = (file: string): string => {
    const folder = file.slice(0, file.lastIndexOf("/"));
    const mount = volumeMounts.find(({ mountPath }) => mountPath === folder);
    const { secret } = volumes.find(({ name }) => name === mount?.name)!;
    const ours = objects.find(
      ({ kind, metadata }) => kind === "Secret" && metadata.name === secret.secretName,
    );
    const store = STORES.find((name) => file.includes(`/${name}/`))!;
    if (ours === undefined) return ELSEWHERE[store];
    const data = ours["data"] as Record<string, string>;
    return Buffer.from(data[secret.items[0]!.key]!, "base64").toString();
  };
  return env
    .filter(({ name }) => CONNECTS.includes(name) || CONNECTS_TO.includes(name))
    .map(({ name, value }) => {
      const url = CONNECTS.includes(name) ? textOf(value) : value;
      const { hostname, port, protocol } = new URL(url);
      const usual = { "http:": 80, "https:": 443, "postgres:": 5432 }[protocol] ?? 0;
      const number = port === "" ? usual : Number(port);
      const found = resolve(objects, hostname, number);
      return found === null
        ? { to: placeOf(hostname), port: number, what: url }
        : { to: found.pod, port: found.port, what: url };
    });
}

/** The pod behind a Service that is not part of the auction. */
function placeOf(host: string): Place {
  const [, namespace, svc] = host.split(".");
  if (namespace === undefined) return { namespace: "sales", labels: { app: "pg" } };
  return svc === "svc" ? { namespace, labels: { app: "theirs" } } : "outside";
}

test("each tier may connect to the addresses in its environment, and to DNS", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      const objects = objectsOf(sample);
      for (const tier of TIERS) {
        const pod = podOf(objects, tier);
        const connections = connectionsOf(tier, sample, objects);
        expect(connections.length).toBeGreaterThan(0);
        for (const { to, port, what } of connections) {
          expect([tier, what, mayConnect(objects, pod, to, port)]).toEqual([tier, what, true]);
        }
        const dns = { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
        expect(mayConnect(objects, pod, dns, 53, "UDP")).toBe(true);
        expect(mayConnect(objects, pod, "outside", 53, "TCP")).toBe(true);
      }
    }),
    { numRuns: 100 },
  );
});

test("a tier cannot reach a store or a tier that is not in its environment", () => {
  const sample = SAMPLES["development"]!;
  const objects = objectsOf(sample);
  const allowed = TIERS.flatMap((tier) =>
    connectionsOf(tier, sample, objects).map(({ to, port }) => {
      return `${tier} → ${(to as Pod).labels["gavel.dev/component"]}:${port}`;
    }),
  );
  const ports: [Component, number][] = [
    ["redis", 6379] as const,
    ["nats", 4222] as const,
    ["postgres", 5432] as const,
    ["gateway", 9080] as const,
    ["broadcast", 9081] as const,
    ["archival", 9082],
    ["nats", 8222],
  ].map(([component, port]) => [component as Component, port as number]);
  const components: Component[] = [...TIERS, ...STORES];
  const open = components.flatMap((from) =>
    ports
      .filter(([to, port]) => mayConnect(objects, podOf(objects, from), podOf(objects, to), port))
      .map(([to, port]) => `${from} → ${to}:${port}`),
  );
  expect(open.sort()).toEqual(allowed.sort());
  expect(open).not.toContain("gateway → postgres:5432");
  expect(open).not.toContain("gateway → nats:4222");
  expect(open).not.toContain("broadcast → nats:4222");
  expect(open).toHaveLength(6);
});

test("bid and stream ports are public; internal ports are for the operator, Prometheus and Chaos Mesh", () => {
  const objects = objectsOf(SAMPLES["development"]!);
  const operator = { "app.kubernetes.io/name": "gavel-operator" };
  const prometheus = { "app.kubernetes.io/name": "prometheus" };
  const chaos = { "app.kubernetes.io/part-of": "chaos-mesh" };
  const askers: [Place, boolean][] = [
    [{ namespace: "gavel-system", labels: { ...operator, "pod-template-hash": "1" } }, true],
    [{ namespace: "monitoring", labels: prometheus }, true],
    [{ namespace: "chaos-mesh", labels: chaos }, true],
    [{ namespace: "elsewhere", labels: operator }, false],
    [{ namespace: "gavel-system", labels: {} }, false],
    [{ namespace: "sales", labels: { app: "stranger" } }, false],
    ["outside", false],
  ];
  for (const [asker, mayAsk] of askers) {
    expect(mayConnect(objects, asker, podOf(objects, "gateway"), 8080)).toBe(true);
    expect(mayConnect(objects, asker, podOf(objects, "broadcast"), 8081)).toBe(true);
    expect(mayConnect(objects, asker, podOf(objects, "gateway"), 9080)).toBe(mayAsk);
    expect(mayConnect(objects, asker, podOf(objects, "broadcast"), 9081)).toBe(mayAsk);
    expect(mayConnect(objects, asker, podOf(objects, "archival"), 9082)).toBe(mayAsk);
    expect(mayConnect(objects, asker, podOf(objects, "redis"), 6379)).toBe(false);
  }
});

test("a store's ingress admits its clients only, even if others' egress allows more", () => {
  const objects = objectsOf(SAMPLES["development"]!);
  const readers = (store: StoreName, port: number) => {
    const own = objects.filter(
      ({ kind, metadata }) =>
        kind === "NetworkPolicy" && metadata.labels["gavel.dev/component"] === store,
    );
    return TIERS.filter((tier) =>
      mayConnect(own, podOf(objects, tier), podOf(objects, store), port),
    );
  };
  expect(readers("redis", 6379)).toEqual(["gateway", "broadcast", "archival"]);
  expect(readers("nats", 4222)).toEqual(["archival"]);
  expect(readers("postgres", 5432)).toEqual(["archival"]);
});

test("an unknown pod of the auction has no ingress and no egress", () => {
  const objects = objectsOf(SAMPLES["development"]!);
  const labels = { "gavel.dev/name": "spring-sale", "gavel.dev/component": "stranger" };
  const stranger: Pod = { namespace: "sales", labels };
  expect(mayConnect(objects, stranger, "outside", 53, "UDP")).toBe(false);
  expect(mayConnect(objects, "outside", stranger, 8080)).toBe(false);
});

test("an auction cannot reach the stores of another auction", () => {
  const one = objectsOf(SAMPLES["development"]!);
  const auction = stored({}, "autumn-sale");
  const other = objectsOf({ auction, inputs: desiredInputsOf(auction) });
  const both = [...one, ...other];
  for (const [store, port] of [
    ["redis", 6379],
    ["nats", 4222],
    ["postgres", 5432],
  ] as const) {
    expect(mayConnect(both, podOf(one, "archival"), podOf(other, store), port)).toBe(false);
    expect(mayConnect(both, podOf(one, "archival"), podOf(one, store), port)).toBe(true);
  }
});

test("no tier reaches the outside, except for the configured OTLP collector", () => {
  const { auction } = SAMPLES["development"]!;
  const at = (otlpEndpoint: string | null) =>
    desired(auction, desiredInputsOf(auction, { otlpEndpoint }));
  const collector: Pod = { namespace: "telemetry", labels: { app: "collector" } };
  for (const component of [...TIERS, ...STORES]) {
    const silent = at(null);
    const pod = podOf(silent, component);
    for (const port of [22, 25, 80, 443, 4318, 6379]) {
      expect(mayConnect(silent, pod, "outside", port)).toBe(false);
    }
    const isTier = (TIERS as readonly string[]).includes(component);
    const telling = at("http://collector.telemetry:4318");
    expect(mayConnect(telling, pod, collector, 4318)).toBe(isTier);
    expect(mayConnect(telling, pod, "outside", 443)).toBe(false);
  }
});

test("a key set behind a Service is reachable at any port of its pods", () => {
  const auction = stored({ access: { jwksUrl: "http://keycloak.auth.svc/keys" } });
  const objects = desired(auction, desiredInputsOf(auction));
  const keycloak = (namespace: string): Pod => ({ namespace, labels: { app: "keycloak" } });
  for (const tier of TIERS) {
    expect(mayConnect(objects, podOf(objects, tier), keycloak("auth"), 8443)).toBe(true);
    expect(mayConnect(objects, podOf(objects, tier), keycloak("elsewhere"), 8443)).toBe(false);
  }
  expect(mayConnect(objects, podOf(objects, "redis"), keycloak("auth"), 8443)).toBe(false);
});

test("an External store of unknown address is reachable at its default port", () => {
  const { auction, inputs } = SAMPLES["production"]!;
  const { external: _, ...unknown } = inputs;
  const objects = desired(auction, unknown);
  expect(mayConnect(objects, podOf(objects, "gateway"), "outside", 6379)).toBe(true);
  expect(mayConnect(objects, podOf(objects, "gateway"), "outside", 5432)).toBe(false);
  expect(mayConnect(objects, podOf(objects, "archival"), "outside", 5432)).toBe(true);
});

test("a store's address does not contain its password", () => {
  expect(storeAddressOf("postgres", ELSEWHERE.postgres)).toEqual({ host: "pg-rw", port: 5432 });
  expect(storeAddressOf("redis", "rediss://h.example")).toEqual({ host: "h.example", port: 6379 });
  expect(storeAddressOf("nats", "not a url")).toBeNull();
});

test("every variable with a URL is in one of the lists above", () => {
  const names = [GatewayEnv, BroadcastEnv, ArchivalEnv].flatMap(({ properties }) =>
    Object.keys(properties).filter((name) => /URL|ENDPOINT|HOSTS?_/.test(name)),
  );
  expect([...new Set(names)].sort()).toEqual([...CONNECTS, ...CONNECTS_TO, ...PASSED_ON].sort());
});
