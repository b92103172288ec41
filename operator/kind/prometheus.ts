/**
 * Installs a Prometheus in the kind cluster. It scrapes the targets of prometheus-targets.ts and evaluates
 * the alerts. Its data is lost with its pod.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { TARGETS_PORT } from "../install/prometheus-targets.ts";
import { ROOT } from "./image.ts";
import type { KindCluster } from "./kind-cluster.ts";

export const PROMETHEUS_NAMESPACE = "gavel-observe";
export const PROMETHEUS_PORT = 9090;

const NAME = "prometheus";
const LABELS = { "app.kubernetes.io/name": NAME };
const READY_TIMEOUT = "120s";
const ANY_USER = 65_534;
const CA_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

interface PrometheusImages {
  /** Prometheus 2.28 or newer. */
  readonly prometheus: string;
  readonly gavel: string;
}

const METADATA = { name: NAME, namespace: PROMETHEUS_NAMESPACE, labels: LABELS };

/** @param scrapeIntervalSeconds between two scrapes of a process */
function prometheusObjects(images: PrometheusImages, scrapeIntervalSeconds: number): object[] {
  const data = {
    "prometheus.yml": stringify(configuration(scrapeIntervalSeconds)),
    "alerts.yaml": readFileSync(join(ROOT, "dashboards/alerts.yaml"), "utf8"),
  };
  const hash = createHash("sha256").update(JSON.stringify(data)).digest("hex").slice(0, 16);
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: PROMETHEUS_NAMESPACE } },
    ...accessObjects(),
    { apiVersion: "v1", kind: "ConfigMap", metadata: METADATA, data },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: METADATA,
      spec: { selector: LABELS, ports: [{ name: "http", port: PROMETHEUS_PORT }] },
    },
    deployment(images, hash),
  ];
}

function configuration(scrapeIntervalSeconds: number): object {
  const interval = `${scrapeIntervalSeconds}s`;
  return {
    global: { scrape_interval: interval, evaluation_interval: interval },
    rule_files: ["/etc/prometheus/alerts.yaml"],
    scrape_configs: [
      {
        job_name: "gavel",
        honor_labels: true,
        http_sd_configs: [{ url: `http://127.0.0.1:${TARGETS_PORT}/`, refresh_interval: interval }],
      },
    ],
  };
}

/** The sidecar lists pods in all namespaces. */
function accessObjects(): object[] {
  const role = { name: PROMETHEUS_NAMESPACE, labels: LABELS };
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: METADATA },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: role,
      rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["list"] }],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: role,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.name },
      subjects: [{ kind: "ServiceAccount", name: NAME, namespace: PROMETHEUS_NAMESPACE }],
    },
  ];
}

/** @param configurationHash restarts the pod when the configuration changes */
function deployment(images: PrometheusImages, configurationHash: string): object {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: METADATA,
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      selector: { matchLabels: LABELS },
      template: {
        metadata: { labels: LABELS, annotations: { "gavel.dev/config": configurationHash } },
        spec: {
          serviceAccountName: NAME,
          securityContext: {
            runAsNonRoot: true,
            runAsUser: ANY_USER,
            fsGroup: ANY_USER,
            seccompProfile: { type: "RuntimeDefault" },
          },
          containers: [prometheusContainer(images.prometheus), targetsContainer(images.gavel)],
          volumes: [
            { name: "config", configMap: { name: NAME } },
            { name: "data", emptyDir: {} },
          ],
        },
      },
    },
  };
}

function prometheusContainer(image: string): object {
  return {
    name: NAME,
    image,
    imagePullPolicy: "IfNotPresent",
    args: ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
    ports: [{ name: "http", containerPort: PROMETHEUS_PORT }],
    readinessProbe: { httpGet: { path: "/-/ready", port: "http" }, periodSeconds: 2 },
    resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "1Gi" } },
    securityContext: RESTRICTED,
    volumeMounts: [
      { name: "config", mountPath: "/etc/prometheus" },
      { name: "data", mountPath: "/prometheus" },
    ],
  };
}

function targetsContainer(image: string): object {
  return {
    name: "targets",
    image,
    imagePullPolicy: "IfNotPresent",
    command: ["node", "operator/install/prometheus-targets.ts"],
    env: [{ name: "NODE_EXTRA_CA_CERTS", value: CA_FILE }],
    resources: { requests: { cpu: "10m", memory: "64Mi" }, limits: { memory: "256Mi" } },
    securityContext: RESTRICTED,
  };
}

/** @throws Error if it is not ready within two minutes */
export async function installPrometheus(
  { kubectl }: KindCluster,
  images: PrometheusImages,
  scrapeIntervalSeconds = 5,
): Promise<void> {
  const input = prometheusObjects(images, scrapeIntervalSeconds)
    .map((object) => stringify(object, { aliasDuplicateObjects: false }))
    .join("---\n");
  await kubectl(["apply", "-f", "-"], { input });
  const deployment = ["rollout", "status", `deployment/${NAME}`, "-n", PROMETHEUS_NAMESPACE];
  await kubectl([...deployment, `--timeout=${READY_TIMEOUT}`]);
}
