/**
 * Serves scrape targets for the HTTP service discovery of a Prometheus in the cluster: the tiers of every
 * Auction, the operator, and the controller of Chaos Mesh. Some builds of Prometheus, such as Debian's, have
 * no Kubernetes service discovery. Runs as a sidecar: node operator/install/prometheus-targets.ts
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { COMPONENT_LABEL, NAME_LABEL } from "../desired/identity.ts";
import { TIERS } from "../api/components.ts";

export const TARGETS_PORT = 9099;

const TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const PODS_URL = "https://kubernetes.default.svc/api/v1/pods?limit=5000";
const REQUEST_TIMEOUT_MS = 5_000;

export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly containers: readonly {
      readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
    }[];
  };
  readonly status: { readonly podIP?: string; readonly phase: string };
}

interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** In the format of the HTTP service discovery of Prometheus. Pure. */
export function targetsOf(pods: readonly Pod[]): TargetGroup[] {
  return pods.flatMap(({ metadata, spec, status }) => {
    const { name, namespace, labels = {} } = metadata;
    if (status.podIP === undefined || status.phase !== "Running") return [];
    const ports = spec.containers.flatMap(({ ports = [] }) => ports);
    const targetOn = (
      port: number | undefined,
      targetLabels: TargetGroup["labels"],
    ): TargetGroup[] =>
      port === undefined ? [] : [{ targets: [`${status.podIP}:${port}`], labels: targetLabels }];
    const internal = ports.find((port) => port.name === "internal")?.containerPort;
    const podLabels = { namespace, pod: name };
    const isTier = (TIERS as readonly string[]).includes(labels[COMPONENT_LABEL] ?? "");
    if (isTier) {
      return targetOn(internal, {
        ...podLabels,
        job: "gavel-tiers",
        auction: labels[NAME_LABEL] ?? "",
      });
    }
    if (labels["app.kubernetes.io/name"] === "gavel-operator") {
      return targetOn(internal, { ...podLabels, job: "gavel-operator" });
    }
    // Identified by the labels of its chart, or by its plain name. No namespace label: the metrics of Chaos
    // Mesh have one already, the namespace of the experiment.
    const isChaosMesh =
      labels["app"] === "chaos-controller-manager" ||
      (labels["app.kubernetes.io/part-of"] === "chaos-mesh" &&
        labels["app.kubernetes.io/component"] === "controller-manager");
    return isChaosMesh ? targetOn(10_080, { job: "chaos-mesh" }) : [];
  });
}

async function listPods(): Promise<Pod[]> {
  const response = await fetch(PODS_URL, {
    headers: { authorization: `Bearer ${readFileSync(TOKEN_FILE, "utf8").trim()}` },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  if (!response.ok)
    throw new Error(`listing pods failed: ${response.status} ${await response.text()}`);
  return ((await response.json()) as { items: Pod[] }).items;
}

if (import.meta.main) {
  const server = createServer(async (_request, reply) => {
    try {
      const body = JSON.stringify(targetsOf(await listPods()));
      reply.writeHead(200, { "content-type": "application/json" }).end(body);
    } catch (error) {
      // Prometheus keeps the targets of the last response.
      reply.writeHead(502).end((error as Error).message);
    }
  });
  server.listen(TARGETS_PORT, "127.0.0.1");
  process.on("SIGTERM", () => process.exit(0));
}
