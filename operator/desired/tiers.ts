/** The objects of gateway, broadcast and archival, but for their secrets and policies. */
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

/** How many pods a tier is told to run now; null where its autoscaler says it. */
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
        // Not even null: whoever sends the field owns it, and would fight the autoscaler over it.
        ...(replicas === null ? {} : { replicas }),
        revisionHistoryLimit: REVISIONS_KEPT,
        progressDeadlineSeconds: PROGRESS_DEADLINE_SECONDS,
        // The new pod is ready before the old one is told to stop, also where there is only one.
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
    more: object = {},
  ): KubeObject => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: metadataOf(auction, suffix, tier),
    spec: {
      type: "ClusterIP",
      selector: selectorOf(auction, tier),
      ports: [{ protocol: "TCP", ...port }],
      ...more,
    },
  });
  const internal = (tier: TierName, more?: object) =>
    service(
      `${tier}-internal`,
      tier,
      { name: "internal", port: INTERNAL_PORTS[tier], targetPort: "internal", appProtocol: "http" },
      more,
    );
  const open = (tier: "gateway" | "broadcast", appProtocol: string) =>
    service(tier, tier, {
      name: "http",
      port: PUBLIC_PORTS[tier],
      targetPort: "http",
      appProtocol,
    });
  return [
    open("gateway", "http"),
    // Tells proxies of the Gateway API that connections are upgraded.
    open("broadcast", "kubernetes.io/ws"),
    internal("gateway"),
    internal("broadcast"),
    // While Redis is away archival is not ready, and the operator wants to hear just that from it.
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
      // A pod that is not well protects nobody: without this it could hold up a node's drain for ever.
      unhealthyPodEvictionPolicy: "AlwaysAllow",
      selector: { matchLabels: selectorOf(auction, tier) },
    },
  }));
}

const SCALE_DOWN_WINDOW_SECONDS = 300;

/** Only while the tier runs as the spec says: with a count of its own, an autoscaler would fight it. */
export function autoscalersOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return (["gateway", "broadcast"] as const).flatMap((tier): KubeObject[] => {
    const { autoscaling } = auction.spec.tiers[tier];
    if (autoscaling === undefined || replicasOf(tier, auction, inputs) !== null) return [];
    const { minReplicas, maxReplicas, targetCPUUtilizationPercentage } = autoscaling;
    const target = { type: "Utilization", averageUtilization: targetCPUUtilizationPercentage };
    // Each viewer of a pod that goes must connect again: few at a time.
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

/** As Prometheus calls a pod's label while it looks for targets. */
const metaLabelOf = (label: string): string =>
  `__meta_kubernetes_pod_label_${label.replaceAll(/[^a-zA-Z0-9_]/g, "_")}`;

/** Each tier answers /metrics at its internal port. */
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
            // The processes do not know what their Auction is called; dashboards choose by it.
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
