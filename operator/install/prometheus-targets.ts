/**
 * What a Prometheus in the cluster scrapes, at its http_sd: the tiers of every Auction, the operator and Chaos
 * Mesh's controller. Not every build of Prometheus can ask Kubernetes itself (Debian's cannot). Runs as a sidecar:
 * node operator/install/prometheus-targets.ts
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { COMPONENT_LABEL, NAME_LABEL } from "../desired/identity.ts";
import { TIERS } from "../api/components.ts";

export const TARGETS_PORT = 9099;

const TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const PODS_URL = "https://kubernetes.default.svc/api/v1/pods?limit=5000";
const ASK_MS = 5_000;

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

export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** As Prometheus's HTTP service discovery wants them. Pure. */
export function targetsOf(pods: readonly Pod[]): TargetGroup[] {
  return pods.flatMap(({ metadata, spec, status }) => {
    const { name, namespace, labels = {} } = metadata;
    if (status.podIP === undefined || status.phase !== "Running") return [];
    const ports = spec.containers.flatMap(({ ports = [] }) => ports);
    const at = (port: number | undefined, told: TargetGroup["labels"]): TargetGroup[] =>
      port === undefined ? [] : [{ targets: [`${status.podIP}:${port}`], labels: told }];
    const internal = ports.find((port) => port.name === "internal")?.containerPort;
    const where = { namespace, pod: name };
    const isTier = (TIERS as readonly string[]).includes(labels[COMPONENT_LABEL] ?? "");
    if (isTier) {
      return at(internal, { ...where, job: "gavel-tiers", auction: labels[NAME_LABEL] ?? "" });
    }
    if (labels["app.kubernetes.io/name"] === "gavel-operator") {
      return at(internal, { ...where, job: "gavel-operator" });
    }
    // The namespace that Chaos Mesh tells is that of the experiment.
    // By its chart's labels, or its plain name.
    const isChaosMesh =
      labels["app"] === "chaos-controller-manager" ||
      (labels["app.kubernetes.io/part-of"] === "chaos-mesh" &&
        labels["app.kubernetes.io/component"] === "controller-manager");
    return isChaosMesh ? at(10_080, { job: "chaos-mesh" }) : [];
  });
}

async function listPods(): Promise<Pod[]> {
  const answer = await fetch(PODS_URL, {
    headers: { authorization: `Bearer ${readFileSync(TOKEN_FILE, "utf8").trim()}` },
    signal: AbortSignal.timeout(ASK_MS),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return ((await answer.json()) as { items: Pod[] }).items;
}

if (import.meta.main) {
  const server = createServer(async (_request, response) => {
    try {
      const body = JSON.stringify(targetsOf(await listPods()));
      response.writeHead(200, { "content-type": "application/json" }).end(body);
    } catch (error) {
      // Prometheus goes on with the targets it knows.
      response.writeHead(502).end((error as Error).message);
    }
  });
  server.listen(TARGETS_PORT, "127.0.0.1");
  process.on("SIGTERM", () => process.exit(0));
}
