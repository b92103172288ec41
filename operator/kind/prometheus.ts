/**
 * A Prometheus in the cluster, for who has none there yet: it scrapes what prometheus-targets.ts finds, and watches the
 * alerts. What it keeps goes with its pod.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { ROOT } from "./image.ts";
import type { KindCluster } from "./kind-cluster.ts";
import { TARGETS_PORT } from "../install/prometheus-targets.ts";

export const PROMETHEUS_NAMESPACE = "gavel-observe";
export const PROMETHEUS_PORT = 9090;

const NAME = "prometheus";
const LABELS = { "app.kubernetes.io/name": NAME };
const WITHIN = "120s";
const ANY_USER = 65_534;
const CA_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const CONFINED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

export interface PrometheusImages {
  /** Prometheus 2.28 or newer. */
  readonly prometheus: string;
  readonly gavel: string;
}

/** @param everySeconds between two looks at each process */
export function prometheusObjects(images: PrometheusImages, everySeconds: number): object[] {
  const every = `${everySeconds}s`;
  const http_sd_configs = [{ url: `http://127.0.0.1:${TARGETS_PORT}/`, refresh_interval: every }];
  const config = {
    global: { scrape_interval: every, evaluation_interval: every },
    rule_files: ["/etc/prometheus/alerts.yaml"],
    scrape_configs: [{ job_name: "gavel", honor_labels: true, http_sd_configs }],
  };
  const data = {
    "prometheus.yml": stringify(config),
    "alerts.yaml": readFileSync(join(ROOT, "dashboards/alerts.yaml"), "utf8"),
  };
  const hash = createHash("sha256").update(JSON.stringify(data)).digest("hex").slice(0, 16);
  const metadata = { name: NAME, namespace: PROMETHEUS_NAMESPACE, labels: LABELS };
  const role = { name: PROMETHEUS_NAMESPACE, labels: LABELS };
  const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role.name };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: PROMETHEUS_NAMESPACE } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
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
      roleRef,
      subjects: [{ kind: "ServiceAccount", name: NAME, namespace: PROMETHEUS_NAMESPACE }],
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata, data },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { selector: LABELS, ports: [{ name: "http", port: PROMETHEUS_PORT }] },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata,
      spec: {
        replicas: 1,
        strategy: { type: "Recreate" },
        selector: { matchLabels: LABELS },
        template: {
          metadata: { labels: LABELS, annotations: { "gavel.dev/config": hash } },
          spec: {
            serviceAccountName: NAME,
            securityContext: {
              runAsNonRoot: true,
              runAsUser: ANY_USER,
              fsGroup: ANY_USER,
              seccompProfile: { type: "RuntimeDefault" },
            },
            containers: [
              {
                name: NAME,
                image: images.prometheus,
                imagePullPolicy: "IfNotPresent",
                args: [
                  "--config.file=/etc/prometheus/prometheus.yml",
                  "--storage.tsdb.path=/prometheus",
                ],
                ports: [{ name: "http", containerPort: PROMETHEUS_PORT }],
                readinessProbe: { httpGet: { path: "/-/ready", port: "http" }, periodSeconds: 2 },
                resources: {
                  requests: { cpu: "20m", memory: "128Mi" },
                  limits: { memory: "1Gi" },
                },
                securityContext: CONFINED,
                volumeMounts: [
                  { name: "config", mountPath: "/etc/prometheus" },
                  { name: "data", mountPath: "/prometheus" },
                ],
              },
              {
                name: "targets",
                image: images.gavel,
                imagePullPolicy: "IfNotPresent",
                command: ["node", "operator/install/prometheus-targets.ts"],
                env: [{ name: "NODE_EXTRA_CA_CERTS", value: CA_FILE }],
                resources: {
                  requests: { cpu: "10m", memory: "64Mi" },
                  limits: { memory: "256Mi" },
                },
                securityContext: CONFINED,
              },
            ],
            volumes: [
              { name: "config", configMap: { name: NAME } },
              { name: "data", emptyDir: {} },
            ],
          },
        },
      },
    },
  ];
}

/** @throws Error where it is not ready within two minutes */
export async function installPrometheus(
  { kubectl }: KindCluster,
  images: PrometheusImages,
  everySeconds = 5,
): Promise<void> {
  const input = prometheusObjects(images, everySeconds)
    .map((object) => stringify(object, { aliasDuplicateObjects: false }))
    .join("---\n");
  await kubectl(["apply", "-f", "-"], { input });
  const deployment = ["rollout", "status", `deployment/${NAME}`, "-n", PROMETHEUS_NAMESPACE];
  await kubectl([...deployment, `--timeout=${WITHIN}`]);
}
