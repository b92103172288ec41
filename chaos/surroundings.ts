/** Creates and removes what an experiment needs: the namespace, the auction, and a killer pod on each node. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { readAuctionFile } from "../operator/local/auction-file.ts";
import type { AuctionResource } from "../operator/api/auction-resource.ts";
import { waitUntilReady } from "../operator/kind/sample-auction.ts";
import { signToken } from "../services/access/tokens.ts";
import { AUCTION, NAMESPACE } from "./scenario.ts";
import type { Target } from "./target.ts";
import { waitFor } from "./wait-for.ts";

const FILE = fileURLToPath(new URL("auction.yaml", import.meta.url));
const KILLER = "chaos-killer";
/** Label of the namespace that experiments create. One without it is never deleted. */
const OURS = { "app.kubernetes.io/managed-by": "gavel-chaos" } as const;
const READY_WITHIN_MS = 300_000;
const CHAOS_KINDS = [
  "workflow",
  "schedule",
  "podchaos",
  "networkchaos",
  "iochaos",
  "stresschaos",
  "timechaos",
];

export interface AuctionUnderTest {
  readonly uid: string;
  readonly resource: AuctionResource;
  token(bidderId: string): Promise<string>;
}

/** The cluster in the form that `waitUntilReady` takes. */
const clusterOf = (target: Target) => ({
  name: target.context,
  context: target.context,
  isNew: false,
  kubectl: (args: readonly string[], options?: { input?: string; timeoutMs?: number }) =>
    target.kubectl(args, options?.input, options?.timeoutMs),
});

/** @throws Error when the cluster has no operator or no Chaos Mesh */
export async function needOperatorAndChaosMesh(target: Target): Promise<void> {
  const names = await target.kubectl(["get", "crd", "-o", "name"]);
  for (const crd of ["auctions.gavel.dev", "podchaos.chaos-mesh.org"]) {
    if (!names.includes(crd)) throw new Error(`${target.context} has no ${crd}`);
  }
}

/** @throws Error when the namespace exists: of another run, interrupted or not, or not created by an experiment */
export async function needNoNamespace(target: Target): Promise<void> {
  if (!(await hasNamespace(target))) return;
  throw new Error(
    `${target.context} has a namespace ${NAMESPACE}: another experiment runs there or was interrupted (make chaos-clean)`,
  );
}

/** @throws Error when no experiment created the namespace */
async function hasNamespace(target: Target): Promise<boolean> {
  const labels = ["-o", 'go-template={{index .metadata.labels "app.kubernetes.io/managed-by"}}'];
  const found = await target.kubectl([
    "get",
    "namespace",
    NAMESPACE,
    "--ignore-not-found",
    ...labels,
  ]);
  if (found === "") return false;
  if (found === OURS["app.kubernetes.io/managed-by"]) return true;
  throw new Error(
    `the namespace ${NAMESPACE} of ${target.context} was not created by an experiment: it is not touched`,
  );
}

export async function createNamespace(target: Target): Promise<void> {
  const namespace = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: {
      name: NAMESPACE,
      // The killer sees the processes of the node, which a restricted namespace forbids.
      labels: { ...OURS, "pod-security.kubernetes.io/enforce": "privileged" },
    },
  };
  await target.kubectl(["create", "-f", "-"], stringify(namespace));
}

/**
 * Sends SIGKILL on the node. Deleting a pod only asks its processes to stop, which stores do cleanly within a
 * second. The killer runs on each node, sees its processes, and may only signal them.
 */
function killer(image: string): object {
  const labels = { "app.kubernetes.io/name": KILLER };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: KILLER, namespace: NAMESPACE },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          hostPID: true,
          terminationGracePeriodSeconds: 0,
          automountServiceAccountToken: false,
          tolerations: [{ operator: "Exists" }],
          containers: [
            {
              name: KILLER,
              image,
              command: ["sleep", "infinity"],
              securityContext: {
                runAsUser: 0,
                capabilities: { drop: ["ALL"], add: ["KILL"] },
                seccompProfile: { type: "RuntimeDefault" },
              },
              resources: { requests: { cpu: "10m", memory: "16Mi" } },
            },
          ],
        },
      },
    },
  };
}

/** Sends SIGKILL to every process of a pod except the sandbox. @returns their number */
export async function killProcesses(
  target: Target,
  { uid, node }: { readonly uid: string; readonly node: string },
): Promise<number> {
  const { items } = await target.json<{ items: { metadata: { name: string } }[] }>(
    `/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=${encodeURIComponent(`app.kubernetes.io/name=${KILLER}`)}&fieldSelector=spec.nodeName=${node}`,
  );
  const name = items[0]?.metadata.name;
  if (name === undefined) throw new Error(`no ${KILLER} on ${node}`);
  const pattern = uid.replaceAll("-", "[-_]");
  const script =
    `n=0; for f in $(grep -lsE '${pattern}' /proc/[0-9]*/cgroup); do d=\${f%/cgroup}; ` +
    `read c < $d/comm || continue; [ "$c" = pause ] && continue; ` +
    `kill -9 \${d#/proc/} && n=$((n+1)); done; echo $n`;
  const output = await target.kubectl(["exec", "-n", NAMESPACE, name, "--", "sh", "-c", script]);
  const killed = Number(output.trim());
  if (!(killed > 0)) throw new Error(`no process of pod ${uid} was found on ${node}`);
  return killed;
}

/**
 * Applies the sample auction in the experiment's namespace and waits until it is open.
 * @param tierImage replaces the image of the tiers
 * @param loadImage contains a shell and the programs of this repository
 */
export async function startAuction(
  target: Target,
  images: {
    readonly tierImage: string | undefined;
    readonly loadImage: string;
    /** Replicas of gateway and of broadcast; default 2. */
    readonly replicas?: number;
  },
  log: (line: string) => void,
): Promise<AuctionUnderTest> {
  const auction = parse(readFileSync(FILE, "utf8")) as {
    spec: { tiers: Record<string, Record<string, unknown>> };
  };
  if (images.tierImage !== undefined) {
    for (const tier of ["gateway", "broadcast", "archival"]) {
      auction.spec.tiers[tier]!["image"] = images.tierImage;
    }
  }
  if (images.replicas !== undefined) {
    for (const tier of ["gateway", "broadcast"]) {
      auction.spec.tiers[tier]!["replicas"] = images.replicas;
      // All replicas must fit on a small node.
      auction.spec.tiers[tier]!["resources"] = { requests: { cpu: "10m", memory: "64Mi" } };
    }
  }
  await target.kubectl(["apply", "-f", "-"], stringify(killer(images.loadImage)));
  await target.kubectl(["apply", "-n", NAMESPACE, "-f", "-"], stringify(auction));
  await waitUntilReady(clusterOf(target), AUCTION, NAMESPACE, log, READY_WITHIN_MS);
  const path = `/apis/gavel.dev/v1alpha1/namespaces/${NAMESPACE}/auctions/${AUCTION}`;
  const seen = await waitFor(
    "the auction is open",
    async () => {
      const it = await target.json<{ metadata: { uid: string }; status?: { phase?: string } }>(
        path,
      );
      return it.status?.phase === "Open" && it;
    },
    READY_WITHIN_MS,
  );
  await target.kubectl([
    "rollout",
    "status",
    `daemonset/${KILLER}`,
    "-n",
    NAMESPACE,
    "--timeout=120s",
  ]);
  const file = readAuctionFile(FILE);
  if (!file.ok) throw new Error(`${FILE}: ${file.problems[0]?.message}`);
  const secret = await readSecret(target, `${AUCTION}-access`, "secret");
  const { issuer, audience } = file.auction.spec.access;
  return {
    uid: seen.metadata.uid,
    resource: file.auction,
    token: (sub) => signToken(secret, { sub, issuer, audience, lifetimeSeconds: 24 * 3_600 }),
  };
}

/** A value of a Secret in the namespace of the experiment. */
export async function readSecret(target: Target, name: string, key: string): Promise<string> {
  const path = `/api/v1/namespaces/${NAMESPACE}/secrets/${name}`;
  const { data } = await target.json<{ data: Readonly<Record<string, string>> }>(path);
  return Buffer.from(data[key] ?? "", "base64").toString();
}

/** Ends all faults. Removes the finalizers of Chaos Mesh when its controller does not. */
export async function removeChaos(target: Target): Promise<void> {
  for (const kind of CHAOS_KINDS) {
    const resource = `${kind}.chaos-mesh.org`;
    const names = await target.kubectl(["get", resource, "-n", NAMESPACE, "-o", "name"]);
    for (const name of names.split("\n").filter(Boolean)) {
      const at = [name, "-n", NAMESPACE];
      const removed = await target
        .kubectl(["delete", ...at, "--timeout=20s"], "", 30_000)
        .then(() => true)
        .catch(() => false);
      if (removed) continue;
      const forced = "chaos-mesh.chaos-mesh.org/cleanFinalizer=forced";
      await target.kubectl(["annotate", ...at, "--overwrite", forced]).catch(() => "");
      const none = '{"metadata":{"finalizers":null}}';
      await target.kubectl(["patch", ...at, "--type=merge", "-p", none]).catch(() => "");
    }
  }
}

/** The result of the operator's drain. */
export interface Drain {
  /** null: unknown. */
  readonly proven: boolean | null;
  readonly why: string;
}

/** Deletes the auction; its drain proves the archive. Removes the finalizers when the drain does not finish. */
export async function drainAuction(target: Target): Promise<Drain> {
  const auction = ["auction", AUCTION, "-n", NAMESPACE];
  const ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
  const isReady = (await target.kubectl(["get", ...auction, "-o", ready])) === "True";
  // An auction that was never ready has nothing to prove, and its drain would wait for its stores.
  if (!isReady) {
    const abandon = '{"spec":{"deletion":{"policy":"Abandon"}}}';
    await target.kubectl(["patch", ...auction, "--type=merge", "-p", abandon]);
  }
  try {
    await target.kubectl(["delete", ...auction, "--timeout=150s"], "", 160_000);
    return isReady
      ? { proven: true, why: "the drain proved it and released the auction" }
      : { proven: false, why: "no proof was requested: the auction was not Ready" };
  } catch (error) {
    const progress = "jsonpath={.status.drain.step}: {.status.drain.message}";
    const message = await target.kubectl(["get", ...auction, "-o", progress]).catch(() => "");
    const none = '{"metadata":{"finalizers":null}}';
    await target.kubectl(["patch", ...auction, "--type=merge", "-p", none]).catch(() => "");
    return { proven: false, why: message || (error as Error).message };
  }
}

/** Removes everything that an experiment created. @throws Error when something remains */
export async function removeAll(target: Target, log: (line: string) => void): Promise<void> {
  if (!(await hasNamespace(target))) return;
  await removeChaos(target);
  const name = await target.kubectl([
    "get",
    "auction",
    AUCTION,
    "-n",
    NAMESPACE,
    "--ignore-not-found",
    "-o",
    "name",
  ]);
  if (name !== "") {
    const { proven, why } = await drainAuction(target);
    if (!proven) log(`the drain did not prove the archive: ${why}`);
  }
  await target.kubectl(["delete", "namespace", NAMESPACE, "--timeout=120s"], "", 130_000);
}
