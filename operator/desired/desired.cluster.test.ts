/** The desired objects on a real API server: strict field validation, schema validation and Pod Security. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { connectCluster, type Cluster } from "../kube/client.ts";
import { isApiError } from "../kube/api-error.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import { startApiServer } from "../testing/api-server.ts";
import { canRunApiServer } from "../testing/kubernetes-binaries.ts";
import type { KubeObject } from "./kube-object.ts";
import { desired } from "./desired.ts";
import { anySample, type Sample, SAMPLES } from "../testing/samples.ts";

const NAMESPACE = "sales";
const START_TIMEOUT_MS = 180_000;
/** Kinds of CRDs that are not part of Kubernetes. */
const ADDED = ["HTTPRoute", "PodMonitor"];

let cluster: Cluster;

/** A server-side dry run. @throws ApiError if the server refuses the object */
function dryRun(object: KubeObject): Promise<AnyObject> {
  const sent = JSON.parse(JSON.stringify(object)) as AnyObject;
  return cluster.apply(sent, { manager: "test", force: true, dryRun: true });
}

const objectsOf = ({ auction, inputs }: Sample) =>
  desired(auction, inputs).filter(({ kind }) => !ADDED.includes(kind));

async function refusals(objects: readonly KubeObject[]): Promise<string[]> {
  const refused: string[] = [];
  for (const object of objects) {
    await dryRun(object).catch((error: unknown) => {
      if (!isApiError(error, "invalid", "forbidden", "unexpected")) throw error;
      refused.push(`${object.kind} ${object.metadata.name}: ${error.message}`);
    });
  }
  return refused;
}

interface PodSpec {
  readonly priorityClassName?: string;
  readonly volumes: readonly object[];
  readonly [field: string]: unknown;
}

/** The pods that the workload controllers would create. A refusal of those would not be reported to the client. */
function podsOf(sample: Sample): KubeObject[] {
  return desired(sample.auction, sample.inputs)
    .filter(({ kind }) => kind === "Deployment" || kind === "StatefulSet")
    .map((object) => {
      const { template } = object["spec"] as { template: { metadata: object; spec: PodSpec } };
      const { priorityClassName: _, ...spec } = template.spec; // No such class is here.
      const claim = { name: "data", persistentVolumeClaim: { claimName: "data" } };
      const claims = object.kind === "StatefulSet" ? [claim] : [];
      return {
        apiVersion: "v1",
        kind: "Pod",
        metadata: {
          ...template.metadata,
          name: object.metadata.name,
          namespace: NAMESPACE,
          labels: object.metadata.labels,
        },
        spec: { ...spec, volumes: [...spec.volumes, ...claims] },
      };
    });
}

describe.skipIf(!canRunApiServer())("a real API server", () => {
  beforeAll(async () => {
    const server = await startApiServer();
    cluster = connectCluster({ kubeconfigFile: server.kubeconfigFile });
    const level = (mode: string) => [`pod-security.kubernetes.io/${mode}`, "restricted"];
    await cluster.apply(
      {
        apiVersion: KINDS.Namespace.apiVersion,
        kind: KINDS.Namespace.kind,
        metadata: {
          name: NAMESPACE,
          labels: Object.fromEntries(["enforce", "warn", "audit"].map(level)) as object,
        },
      } as AnyObject,
      { manager: "test", force: true },
    );
    return () => cluster.close();
  }, START_TIMEOUT_MS);

  test.each(Object.keys(SAMPLES))("accepts the objects of %s", async (name) => {
    expect(await refusals(objectsOf(SAMPLES[name]!))).toEqual([]);
  });

  test.each(Object.keys(SAMPLES))(
    "admits the pods of %s where only restricted ones may be",
    async (name) => {
      expect(await refusals(podsOf(SAMPLES[name]!))).toEqual([]);
    },
  );

  test("accepts the objects and pods of any Auction", async () => {
    await fc.assert(
      fc.asyncProperty(anySample, async (sample) => {
        expect(await refusals([...objectsOf(sample), ...podsOf(sample)])).toEqual([]);
      }),
      { numRuns: 15 },
    );
  });

  test("refuses a pod with an additional capability, and an unknown field", async () => {
    const [pod] = podsOf(SAMPLES["development"]!);
    const spec = pod!["spec"] as { containers: { securityContext: object }[] };
    const [container] = spec.containers;
    const securityContext = {
      ...container!.securityContext,
      capabilities: { add: ["NET_ADMIN"] },
    };
    const loose = { ...pod!, spec: { ...spec, containers: [{ ...container!, securityContext }] } };
    expect(await refusals([loose])).toEqual([expect.stringContaining("NET_ADMIN")]);
    const odd = { ...pod!, spec: { ...spec, colour: "blue" } };
    expect(await refusals([odd])).toEqual([expect.stringContaining("colour")]);
  });

  test("stores each object as it was sent, so that a second apply changes nothing", async () => {
    for (const object of objectsOf(SAMPLES["production"]!)) {
      expect(await dryRun(object)).toMatchObject(JSON.parse(JSON.stringify(object)) as object);
    }
  });
});
