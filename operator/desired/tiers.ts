/** The objects of gateway, broadcast and archival, except Secrets and policies. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { type TierName, TIERS } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { INTERNAL_PORTS, PUBLIC_PORTS } from "./environment.ts";
import {
  childName,
  COMPONENT_LABEL,
  metadataOf,
  NAME_LABEL,
  ownedMetadata,
  selectorOf,
} from "./identity.ts";
import { podTemplateOf } from "./pod-template.ts";

const PROGRESS_DEADLINE_SECONDS = 300;
const REVISIONS_KEPT = 3;

/** Number of pods of a tier; null if an autoscaler decides it. */
export function replicasOf(
  tier: TierName,
  auction: StoredAuction,
  { scale }: Pick<DesiredInputs, "scale">,
): number | null {
  const { spec } = auction;
  if (tier === "archival") return spec.tiers.archival.replicas;
  if (scale === "waiting" || scale === "no-intake") return 0;
  if (scale === "over") return tier === "gateway" ? 1 : 0;
  if (scale === "no-viewers" && tier === "broadcast") return 0;
  const { replicas, autoscaling } = spec.tiers[tier];
  if (autoscaling !== undefined) return null;
  return replicas ?? (spec.profile === "Production" ? 2 : 1);
}

export function deploymentsOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return TIERS.map((tier) => {
    const replicas = replicasOf(tier, auction, inputs);
    return {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: metadataOf(auction, tier, tier),
      spec: {
        // The field is absent with an autoscaler: whoever applies it owns it, and would conflict with the autoscaler.
        ...(replicas === null ? {} : { replicas }),
        revisionHistoryLimit: REVISIONS_KEPT,
        progressDeadlineSeconds: PROGRESS_DEADLINE_SECONDS,
        // A new pod is ready before an old one is stopped, even with one replica.
        strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        selector: { matchLabels: selectorOf(auction, tier) },
        template: podTemplateOf(tier, auction, inputs),
      },
    };
  });
}

export function serviceAccountsOf(
  auction: StoredAuction,
  components: readonly Parameters<typeof metadataOf>[2][],
): KubeObject[] {
  return components.map((component) => ({
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: metadataOf(auction, component, component),
    automountServiceAccountToken: false,
  }));
}

export function servicesOf(auction: StoredAuction): KubeObject[] {
  const service = (
    suffix: string,
    tier: TierName,
    port: object,
    extraSpec: object = {},
  ): KubeObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: metadataOf(auction, suffix, tier),
    spec: {
      type: "ClusterIP",
      selector: selectorOf(auction, tier),
      ports: [{ protocol: "TCP", ...port }],
      ...extraSpec,
    },
  });
  const internal = (tier: TierName, extraSpec?: object) =>
    service(
      `${tier}-internal`,
      tier,
      { name: "internal", port: INTERNAL_PORTS[tier], targetPort: "internal", appProtocol: "http" },
      extraSpec,
    );
  const publicService = (tier: "gateway" | "broadcast", appProtocol: string) =>
    service(tier, tier, {
      name: "http",
      port: PUBLIC_PORTS[tier],
      targetPort: "http",
      appProtocol,
    });
  return [
    publicService("gateway", "http"),
    // Implementations of the Gateway API need this to upgrade connections.
    publicService("broadcast", "kubernetes.io/ws"),
    internal("gateway"),
    internal("broadcast"),
    // Without Redis archival is not ready, and the operator reads the reason from it.
    internal("archival", { publishNotReadyAddresses: true }),
  ];
}

export function disruptionBudgetsOf(auction: StoredAuction): KubeObject[] {
  return TIERS.map((tier) => ({
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: metadataOf(auction, tier, tier),
    spec: {
      maxUnavailable: 1,
      // Without this, an unhealthy pod could block the drain of a node for ever.
      unhealthyPodEvictionPolicy: "AlwaysAllow",
      selector: { matchLabels: selectorOf(auction, tier) },
    },
  }));
}

const SCALE_DOWN_WINDOW_SECONDS = 300;

/** Only while `replicasOf` leaves the number of pods to the autoscaler: otherwise both would set it. */
export function autoscalersOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return (["gateway", "broadcast"] as const).flatMap((tier): KubeObject[] => {
    const { autoscaling } = auction.spec.tiers[tier];
    if (autoscaling === undefined || replicasOf(tier, auction, inputs) !== null) return [];
    const { minReplicas, maxReplicas, targetCPUUtilizationPercentage } = autoscaling;
    const target = { type: "Utilization", averageUtilization: targetCPUUtilizationPercentage };
    // The viewers of a removed pod must reconnect, so few pods are removed at a time.
    const percent = tier === "broadcast" ? 10 : 50;
    return [
      {
        apiVersion: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        metadata: metadataOf(auction, tier, tier),
        spec: {
          scaleTargetRef: {
            apiVersion: "apps/v1",
            kind: "Deployment",
            name: childName(auction, tier),
          },
          minReplicas,
          maxReplicas,
          metrics: [{ type: "Resource", resource: { name: "cpu", target } }],
          behavior: {
            scaleDown: {
              stabilizationWindowSeconds: SCALE_DOWN_WINDOW_SECONDS,
              selectPolicy: "Max",
              policies: [{ type: "Percent", value: percent, periodSeconds: 60 }],
            },
          },
        },
      },
    ];
  });
}

/** The name of a pod label in the service discovery of Prometheus. */
const metaLabelOf = (label: string): string =>
  `__meta_kubernetes_pod_label_${label.replaceAll(/[^a-zA-Z0-9_]/g, "_")}`;

/** Scrapes /metrics at the internal port of each tier. */
export function podMonitorOf(auction: StoredAuction, { serves }: DesiredInputs): KubeObject[] {
  if (!serves.podMonitor) return [];
  return [
    {
      apiVersion: "monitoring.coreos.com/v1",
      kind: "PodMonitor",
      metadata: ownedMetadata(auction, "tiers", "auction"),
      spec: {
        selector: {
          matchLabels: { [NAME_LABEL]: auction.metadata.name },
          matchExpressions: [{ key: COMPONENT_LABEL, operator: "In", values: TIERS }],
        },
        podMetricsEndpoints: [
          {
            port: "internal",
            path: "/metrics",
            interval: "15s",
            // Dashboards select by the name of the Auction, which the processes do not know.
            relabelings: [
              {
                sourceLabels: [metaLabelOf(NAME_LABEL)],
                targetLabel: "auction",
                action: "replace",
              },
            ],
          },
        ],
      },
    },
  ];
}
