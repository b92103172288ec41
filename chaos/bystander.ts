/**
 * A pod unrelated to the auction that is killed in the calm windows. The death and start of any pod take CPU and
 * disk from its node, which on a small cluster already raises the p99 of bids. Killing the bystander puts this
 * effect into the calm windows, too, so that a scenario measures only what the auction does.
 */
import { stringify } from "yaml";
import { collectionOf } from "./proof.ts";
import { NAMESPACE } from "./scenario.ts";
import { killProcesses } from "./surroundings.ts";
import type { Target } from "./target.ts";
import { waitFor } from "./wait-for.ts";

const NAME = "chaos-bystander";
const LABELS = { "app.kubernetes.io/name": NAME };
const WITHIN_MS = 60_000;

interface Bystander {
  readonly metadata: { readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly conditions?: readonly { type: string; status: string }[] };
}

export async function startBystander(target: Target, image: string): Promise<void> {
  const set = {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: NAME, namespace: NAMESPACE },
    spec: {
      replicas: 1,
      serviceName: NAME,
      selector: { matchLabels: LABELS },
      template: {
        metadata: { labels: LABELS },
        spec: {
          terminationGracePeriodSeconds: 1,
          automountServiceAccountToken: false,
          containers: [
            {
              name: NAME,
              image,
              command: ["node", "-e", "setInterval(() => {}, 1000)"],
              resources: { requests: { cpu: "10m", memory: "64Mi" } },
              volumeMounts: [{ name: "data", mountPath: "/data" }],
            },
          ],
        },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: "data" },
          spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
        },
      ],
    },
  };
  await target.kubectl(["apply", "-f", "-"], stringify(set));
  await readyBystander(target, "");
}

/**
 * Sends SIGKILL and lets Chaos Mesh remove the pod, as the scenarios do.
 * @param n number of the round
 * @param isWiped also deletes its volume claim: creating and removing a volume takes pods, too
 */
export async function killBystander(target: Target, n: number, isWiped: boolean): Promise<void> {
  const { metadata, spec } = await readyBystander(target, "");
  if (isWiped) {
    await target.kubectl(["delete", "pvc", `data-${NAME}-0`, "-n", NAMESPACE, "--wait=false"]);
  }
  await killProcesses(target, { uid: metadata.uid, node: spec.nodeName! });
  await target.create(collectionOf({ kind: "PodChaos" }), {
    apiVersion: "chaos-mesh.org/v1alpha1",
    kind: "PodChaos",
    metadata: { name: `bystander-${n}`, namespace: NAMESPACE },
    spec: {
      action: "pod-kill",
      mode: "one",
      selector: { namespaces: [NAMESPACE], labelSelectors: LABELS },
    },
  });
  await readyBystander(target, metadata.uid);
}

const readyBystander = (target: Target, killedUid: string): Promise<Bystander> =>
  waitFor(
    "the bystander is ready",
    async () => {
      const selector = encodeURIComponent(`app.kubernetes.io/name=${NAME}`);
      const { items } = await target.json<{ items: Bystander[] }>(
        `/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=${selector}`,
      );
      return items.find(
        ({ metadata, status }) =>
          metadata.deletionTimestamp === undefined &&
          metadata.uid !== killedUid &&
          status.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
      );
    },
    WITHIN_MS,
  );
