import fc from "fast-check";
import { format } from "prettier";
import type Type from "typebox";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { ArchivalEnv } from "../../services/archival/config.ts";
import { BroadcastEnv } from "../../services/broadcast/config.ts";
import { GatewayEnv } from "../../services/gateway/config.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { type TierName, TIERS } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { storedAuction } from "../testing/observation.ts";
import { managedMaxMemory } from "./capacity.ts";
import { desired } from "./desired.ts";
import { endpointsOf } from "./endpoints.ts";
import { ownedByGc } from "./identity.ts";
import { podTemplateOf } from "./pod-template.ts";
import { replicasOf } from "./tiers.ts";
import { revisionOf, withPodTemplate } from "./pod-template.ts";
import { drainOf } from "./environment.ts";
import type { PodTemplate } from "./pod-template.ts";
import { type JudgedPod, notRestricted } from "../testing/restricted-profile.ts";
import {
  anySample,
  desiredInputsOf,
  RESERVE_MINOR,
  type Sample,
  SAMPLES,
  stored,
} from "../testing/samples.ts";

const ENVIRONMENTS: Record<TierName, Type.TObject> = {
  gateway: GatewayEnv,
  broadcast: BroadcastEnv,
  archival: ArchivalEnv,
};

interface Container {
  readonly name: string;
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts: readonly { readonly mountPath: string; readonly subPath?: string }[];
}

/** The object as JSON, without undefined fields. */
const sent = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const objectsOf = ({ auction, inputs }: Sample) => desired(auction, inputs);
const ofKind = (objects: readonly KubeObject[], ...kinds: string[]) =>
  objects.filter(({ kind }) => kinds.includes(kind));
const templateOf = (object: KubeObject) => (object["spec"] as { template: PodTemplate }).template;
const workloads = (objects: readonly KubeObject[]) =>
  ofKind(objects, "Deployment", "StatefulSet").map((object) => {
    const template = templateOf(object);
    return { object, template, pod: template.spec as JudgedPod & { containers: Container[] } };
  });

function named(objects: readonly KubeObject[], kind: string, name: string): KubeObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
}

const decoded = (secret: KubeObject): string[] =>
  Object.values(secret["data"] as Record<string, string>).map((text) =>
    Buffer.from(text, "base64").toString(),
  );

/** One YAML document for each object; Secret data as text. */
function printed(objects: readonly KubeObject[]): Promise<string> {
  const readable = objects.map((object) => {
    if (object.kind !== "Secret") return object;
    const { data, ...rest } = object;
    const texts = Object.entries(data as Record<string, string>).map(([key, text]) => [
      key,
      Buffer.from(text, "base64").toString(),
    ]);
    return { ...rest, stringData: Object.fromEntries(texts) as object };
  });
  const documents = readable.map((each) =>
    stringify(sent(each), { lineWidth: 0, aliasDuplicateObjects: false }),
  );
  const head = "# Written by `npx vitest run operator/desired/desired.test.ts -u`.\n";
  return format(head + documents.join("---\n"), { parser: "yaml", printWidth: 100 });
}

/** @param memory the limit that the Auction gives the pod of Redis; null: none */
function redisMemoryOf(memory: string | null) {
  const resources = memory === null ? {} : { resources: { limits: { memory } } };
  return managedMaxMemory(storedAuction({ backing: { redis: { managed: resources } } }).spec);
}

test("a Managed Redis has a maxmemory below the limit of its pod, also where the Auction gives the limit", () => {
  const usual = redisMemoryOf(null);
  expect(usual.maxMemoryBytes).toBeLessThan(usual.processBytes / 1.5);
  expect(redisMemoryOf("16Gi").maxMemoryBytes).toBe(usual.maxMemoryBytes);
  for (const [memory, bytes] of [
    ["1Gi", 2 ** 30],
    ["300M", 3e8],
    ["2e8", 2e8],
    ["268435456", 2 ** 28],
  ] as const) {
    const expected = Math.floor((bytes - 64 * 2 ** 20) / 1.5);
    expect(redisMemoryOf(memory).maxMemoryBytes).toBe(expected);
  }
});

test("a Managed Redis with a small limit still has room for data", () => {
  for (const [memory, mib] of [
    ["64Mi", 16],
    ["32Mi", 8],
    ["96Mi", 24],
  ] as const) {
    expect(redisMemoryOf(memory).maxMemoryBytes).toBe(mib * 2 ** 20);
  }
});

test.each(Object.keys(SAMPLES))("%s matches its golden file", async (name) => {
  const text = await printed(objectsOf(SAMPLES[name]!));
  await expect(text).toMatchFileSnapshot(`golden/${name}.yaml`);
});

test("equal inputs give equal objects, and the inputs are not mutated", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      const before = structuredClone(sample);
      const first = objectsOf(sample);
      expect(objectsOf(structuredClone(sample))).toEqual(first);
      expect(sample).toEqual(before);
      expect(sent(first)).toEqual(first);
    }),
    { numRuns: 25 },
  );
});

test("names, labels and selectors of all objects are correct", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      const { metadata } = sample.auction;
      const objects = objectsOf(sample);
      const keys = objects.map(({ kind, metadata: { name } }) => `${kind}/${name}`);
      expect(new Set(keys).size).toBe(keys.length);
      for (const object of objects) {
        const { name, namespace, labels } = object.metadata;
        expect(namespace).toBe(metadata.namespace);
        expect(name.startsWith(`${metadata.name}-`)).toBe(true);
        expect(name.length).toBeLessThanOrEqual(63);
        expect(labels).toMatchObject({
          "app.kubernetes.io/name": "gavel",
          "app.kubernetes.io/instance": metadata.name,
          "app.kubernetes.io/component": labels["gavel.dev/component"],
          "app.kubernetes.io/part-of": "gavel",
          "app.kubernetes.io/managed-by": "gavel-operator",
          "gavel.dev/name": metadata.name,
          "gavel.dev/uid": metadata.uid,
        });
        for (const label of Object.values(labels)) expect(label.length).toBeLessThanOrEqual(63);
        for (const key of selectorKeysOf(object)) {
          expect(["gavel.dev/name", "gavel.dev/component"]).toContain(key);
        }
      }
      for (const { object, template } of workloads(objects)) {
        const { selector } = object["spec"] as { selector: { matchLabels: object } };
        expect(template.metadata.labels).toMatchObject(selector.matchLabels);
      }
    }),
    { numRuns: 40 },
  );
});

function selectorKeysOf({ kind, ...object }: KubeObject): string[] {
  const spec = object["spec"] as { selector?: object; podSelector?: object } | undefined;
  const selector = spec?.podSelector ?? spec?.selector ?? {};
  const labels = kind === "Service" ? selector : (selector as { matchLabels?: object }).matchLabels;
  return Object.keys(labels ?? {});
}

test("every pod is restricted, limits its memory, and is probed", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      for (const { pod } of workloads(objectsOf(sample))) {
        expect(notRestricted(pod)).toEqual([]);
        for (const container of pod.containers) {
          expect(container).toMatchObject({
            resources: {
              requests: { cpu: expect.any(String) },
              limits: { memory: expect.stringMatching(/Mi|Gi/) as string },
            },
            startupProbe: expect.any(Object),
            readinessProbe: expect.any(Object),
            livenessProbe: expect.any(Object),
          });
          expect(container.volumeMounts.filter(({ subPath }) => subPath !== undefined)).toEqual([]);
        }
      }
    }),
    { numRuns: 25 },
  );
});

test("confidential values are only in Secrets, not even as a hash in pods", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      const { credentials } = sample.inputs;
      const objects = objectsOf(sample);
      const others = JSON.stringify(objects.filter(({ kind }) => kind !== "Secret"));
      const secrets = [...Object.values(credentials), String(RESERVE_MINOR)];
      const leaked = secrets.filter((secret) =>
        [
          JSON.stringify(secret).slice(1, -1),
          encodeURIComponent(secret),
          Buffer.from(secret).toString("base64"),
        ].some((text) => others.includes(text)),
      );
      expect(leaked).toEqual([]);
    }),
    { numRuns: 25 },
  );
});

test("each pod's environment has the variables that its tier reads, with valid values", () => {
  fc.assert(
    fc.property(anySample, ({ auction, inputs }) => {
      for (const tier of TIERS) {
        const pod = podTemplateOf(tier, auction, inputs).spec as { containers: Container[] };
        const env = pod.containers[0]!.env ?? [];
        const known = Object.keys(ENVIRONMENTS[tier].properties);
        expect(env.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([]);
        expect(env.filter(({ value }) => typeof value !== "string")).toEqual([]);
        const values = Object.fromEntries(env.map(({ name, value }) => [name, value]));
        const read = readEnv(ENVIRONMENTS[tier], values) as Record<string, unknown>;
        expect(read["AUCTION_UID"]).toBe(auction.metadata.uid);
        const tokens = [read["TOKEN_SECRET_FILE"], read["TOKEN_JWKS_URL"]];
        expect(tokens.filter((value) => value !== undefined)).toHaveLength(1);
      }
    }),
    { numRuns: 25 },
  );
});

test("each file that a tier reads is mounted, from a generated Secret or one that the spec names", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      const { auction, inputs } = sample;
      const objects = objectsOf(sample);
      const spec = auction.spec.backing;
      const theirs = [spec.redis, spec.nats, spec.postgres].flatMap(({ external }) =>
        external === undefined ? [] : [external.secretRef.name],
      );
      const missing = inputs.definition === null ? [`${auction.metadata.name}-rules`] : [];
      const ours = ofKind(objects, "Secret").map(({ metadata }) => metadata.name);
      for (const { pod } of workloads(objects)) {
        const mounts = pod.containers[0]!.volumeMounts.map(({ mountPath }) => mountPath);
        for (const { name, value } of pod.containers[0]!.env ?? []) {
          if (!name.endsWith("_FILE")) continue;
          expect(mounts).toContain(value.slice(0, value.lastIndexOf("/")));
        }
        for (const volume of pod.volumes ?? []) {
          const secret = volume["secret"] as { secretName: string; items: object[] } | undefined;
          if (secret === undefined) continue;
          expect([...ours, ...theirs, ...missing]).toContain(secret.secretName);
          const found = objects.find(
            ({ kind, metadata }) => kind === "Secret" && metadata.name === secret.secretName,
          );
          const keys = Object.keys((found?.["data"] as object | undefined) ?? {});
          for (const { key } of secret.items as { key: string }[]) {
            if (found !== undefined) expect(keys).toContain(key);
          }
        }
      }
    }),
    { numRuns: 25 },
  );
});

const { auction, inputs } = SAMPLES["development"]!;
const with_ = (more: Partial<DesiredInputs>) => desiredInputsOf(auction, more);

test("rules, lots, passwords and replica counts restart no pod; an image and an environment do", () => {
  const revisions = (changedAuction: typeof auction, given: DesiredInputs) =>
    workloads(desired(changedAuction, given)).map(({ template }) => revisionOf(template));
  const before = revisions(auction, inputs);
  const lots = [{ id: "vase", startMinor: 1 }];
  expect(revisions(stored({ lots, withdrawnLots: ["vase"], suspended: true }), inputs)).toEqual(
    before,
  );
  const credentials = {
    ...inputs.credentials,
    tokenSecret: "another-secret-of-tokens-0123456789abcdef",
    redisPassword: "another",
    natsPassword: "another",
    postgresPassword: "another",
  };
  expect(revisions(auction, with_({ credentials, scale: "over", definition: null }))).toEqual(
    before,
  );
  const scaled = stored({ tiers: { gateway: { replicas: 9 } } });
  expect(revisions(scaled, inputs)).toEqual(before);

  const changed = (changedAuction: typeof auction, given: DesiredInputs) =>
    revisions(changedAuction, given).map((revision, i) => revision !== before[i]);
  const stores = [false, false, false];
  const images = { ...inputs.images, gavel: "gavel:2.0.0" };
  expect(changed(auction, with_({ images }))).toEqual([...stores, true, true, true]);
  const sockets = stored({ tiers: { broadcast: { maxConnectionsPerPod: 5 } } });
  expect(changed(sockets, inputs)).toEqual([...stores, false, true, false]);
});

test("a revision does not depend on the order of fields, and is written on the pods", () => {
  const template = podTemplateOf("gateway", auction, inputs);
  const { annotations, labels } = template.metadata;
  const turned: PodTemplate = {
    spec: Object.fromEntries(Object.entries(template.spec).reverse()),
    metadata: { annotations, labels },
  };
  expect(revisionOf(turned)).toBe(revisionOf(template));
  expect(annotations["gavel.dev/config-hash"]).toBe(revisionOf(template));
  expect(revisionOf(template)).toMatch(/^[0-9a-f]{12}$/);
});

test("a Deployment can keep the pod template of an earlier revision", () => {
  const earlier = podTemplateOf("gateway", auction, with_({ images: { ...inputs.images } }));
  const images = { ...inputs.images, gavel: "gavel:2.0.0" };
  const wanted = named(desired(auction, with_({ images })), "Deployment", "spring-sale-gateway");
  const held = withPodTemplate(wanted, earlier);
  expect(held).toEqual(named(desired(auction, inputs), "Deployment", "spring-sale-gateway"));
});

test("a tier runs as many pods as its scale says", () => {
  const scaled = stored({
    tiers: { gateway: { replicas: 4 }, broadcast: { replicas: 3 }, archival: { replicas: 2 } },
  });
  const counts = (scale: DesiredInputs["scale"], counted = scaled) =>
    TIERS.map((tier) => replicasOf(tier, counted, { scale }));
  expect(counts("full")).toEqual([4, 3, 2]);
  expect(counts("waiting")).toEqual([0, 0, 2]);
  expect(counts("over")).toEqual([1, 0, 2]);
  expect(counts("no-viewers")).toEqual([4, 0, 2]);
  expect(counts("no-intake")).toEqual([0, 0, 2]);
  expect(counts("full", auction)).toEqual([1, 1, 1]);
});

test("an autoscaled tier has no replicas field while it runs, and no autoscaler while it is scaled to 0", () => {
  const { auction: scaled } = SAMPLES["production"]!;
  const at = (scale: DesiredInputs["scale"]) => {
    const objects = desired(scaled, desiredInputsOf(scaled, { scale }));
    const autoscalers = ofKind(objects, "HorizontalPodAutoscaler");
    const counts = ofKind(objects, "Deployment").map(
      (object) => (object["spec"] as { replicas?: number }).replicas,
    );
    return { autoscalers: autoscalers.map(({ metadata }) => metadata.name), counts };
  };
  const [gateway, broadcast] = ["evening-sale-gateway", "evening-sale-broadcast"];
  expect(at("full")).toEqual({
    autoscalers: [gateway, broadcast],
    counts: [undefined, undefined, 2],
  });
  expect(at("waiting")).toEqual({ autoscalers: [], counts: [0, 0, 2] });
  expect(at("over")).toEqual({ autoscalers: [], counts: [1, 0, 2] });
  expect(at("no-viewers")).toEqual({ autoscalers: [gateway], counts: [undefined, 0, 2] });
});

test("the garbage collector removes gateway and broadcast; the drain removes archival, stores and Secrets", () => {
  fc.assert(
    fc.property(anySample, (sample) => {
      for (const object of objectsOf(sample)) {
        const component = object.metadata.labels["gavel.dev/component"]!;
        const isDrains =
          ["archival", "redis", "nats", "postgres"].includes(component) ||
          object.kind === "Secret" ||
          object.metadata.name.endsWith("-default-deny");
        const { name } = object.metadata;
        expect([object.kind, name, ownedByGc(object)]).toEqual([object.kind, name, !isDrains]);
        for (const owner of object.metadata.ownerReferences ?? []) {
          expect(owner).toEqual({
            apiVersion: "gavel.dev/v1alpha1",
            kind: "Auction",
            name: sample.auction.metadata.name,
            uid: sample.auction.metadata.uid,
            controller: true,
            blockOwnerDeletion: false,
          });
        }
      }
    }),
    { numRuns: 25 },
  );
});

test("without a definition the rules Secret is missing, and all other objects are equal", () => {
  const rest = desired(auction, with_({ definition: null }));
  const all = desired(auction, inputs);
  expect(all.filter(({ metadata }) => metadata.name !== "spring-sale-rules")).toEqual(rest);
  expect(all).toHaveLength(rest.length + 1);
});

test("passwords with special characters reach Redis, NATS and their clients unchanged", () => {
  const objects = desired(auction, inputs);
  const { redisPassword, natsPassword, postgresPassword } = inputs.credentials;
  const uriOf = (store: string) =>
    new URL(decoded(named(objects, "Secret", `spring-sale-${store}`))[0]!);
  expect(decodeURIComponent(uriOf("redis").password)).toBe(redisPassword);
  expect(decodeURIComponent(uriOf("nats").password)).toBe(natsPassword);
  expect(decodeURIComponent(uriOf("postgres").password)).toBe(postgresPassword);
  expect(decoded(named(objects, "Secret", "spring-sale-redis"))[1]).toBe(
    'requirepass "the-password\\"of\\\\redis"\n',
  );
});

test("terminationGracePeriodSeconds is notice, drain and margin", () => {
  expect(drainOf(30)).toEqual({ DRAIN_NOTICE_MS: 5_000, DRAIN_MS: 23_000 });
  expect(drainOf(60)).toEqual({ DRAIN_NOTICE_MS: 5_000, DRAIN_MS: 53_000 });
  expect(drainOf(5)).toEqual({ DRAIN_NOTICE_MS: 1_000, DRAIN_MS: 3_500 });
  expect(drainOf(3600)).toEqual({ DRAIN_NOTICE_MS: 5_000, DRAIN_MS: 600_000 });
});

test("the endpoints of bidders and viewers follow from the spec", () => {
  expect(endpointsOf(auction)).toEqual({
    bids: "http://spring-sale-gateway.sales:8080",
    stream: "ws://spring-sale-broadcast.sales:8081/v1/stream",
    page: "http://spring-sale-gateway.sales:8080/",
  });
  expect(endpointsOf(SAMPLES["production"]!.auction)).toEqual({
    bids: "https://sale.example.com",
    stream: "wss://sale.example.com/v1/stream",
    page: "https://sale.example.com/",
  });
  const plain = stored({ exposure: { host: "a.example", gateway: { name: "public" } } });
  expect(endpointsOf(plain).stream).toBe("ws://a.example/v1/stream");
});
