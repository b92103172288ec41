/** The pod templates of the tiers. A change restarts the pods, so rules and connections are not part of them. */
import type {
  V1Probe,
  V1ResourceRequirements,
  V1TopologySpreadConstraint,
  V1Volume,
} from "@kubernetes/client-node";
import { canonicalHash } from "../../services/runtime/canonical-hash.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { TierName } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { environmentOf, INTERNAL_PORTS, MOUNTS, PUBLIC_PORTS } from "./environment.ts";
import { childName, labelsOf, selectorOf } from "./identity.ts";
import { RESTRICTED_CONTAINER, restrictedPod, SECRET_MODE } from "./restricted.ts";
import { urlSecretOf } from "./secrets.ts";

export const REVISION_ANNOTATION = "gavel.dev/config-hash";

/** User id of the image. */
const TIER_USER = 1000;

/** The template in a Deployment or StatefulSet. */
export interface PodTemplate {
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: object;
}

/**
 * The template of a tier. Its revision does not depend on rules, lots, the content of connection Secrets or
 * the number of pods.
 */
export function podTemplateOf(
  tier: TierName,
  auction: StoredAuction,
  inputs: DesiredInputs,
): PodTemplate {
  const { spec } = auction;
  const { image, resources, terminationGracePeriodSeconds } = spec.tiers[tier];
  const volumes = secretVolumesOf(tier, auction);
  return withRevision({
    metadata: {
      labels: labelsOf(auction, tier),
      annotations: {},
    },
    spec: {
      serviceAccountName: childName(auction, tier),
      ...restrictedPod(TIER_USER),
      ...placementOf(auction),
      ...spreadOf(auction, tier),
      terminationGracePeriodSeconds,
      containers: [
        {
          name: tier,
          image: image ?? inputs.images.gavel,
          imagePullPolicy: inputs.imagePullPolicy,
          // No shell and no npm in between, so that the process receives signals.
          command: ["node", `services/${tier}/main.ts`],
          workingDir: "/app",
          env: environmentOf(tier, auction, inputs),
          ports: portsOf(tier),
          ...probesOf(),
          resources: resourcesOr(resources, defaultResourcesOf(tier, auction)),
          securityContext: RESTRICTED_CONTAINER,
          volumeMounts: volumes.map(({ name }) => ({
            name,
            mountPath: MOUNTS[name as keyof typeof MOUNTS],
            readOnly: true,
          })),
        },
      ],
      volumes,
    },
  });
}

/** A short hash of everything whose change restarts a pod. Equal templates have equal revisions. */
export function revisionOf(template: PodTemplate): string {
  const { [REVISION_ANNOTATION]: _, ...annotations } = template.metadata.annotations;
  return canonicalHash({ ...template, metadata: { ...template.metadata, annotations } }).slice(
    0,
    12,
  );
}

export function withRevision(template: PodTemplate): PodTemplate {
  const annotations = {
    ...template.metadata.annotations,
    [REVISION_ANNOTATION]: revisionOf(template),
  };
  return { ...template, metadata: { ...template.metadata, annotations } };
}

/** The same Deployment or StatefulSet with another pod template. */
export function withPodTemplate(object: KubeObject, template: PodTemplate): KubeObject {
  return { ...object, spec: { ...(object["spec"] as object), template } };
}

function portsOf(tier: TierName) {
  const internal = { name: "internal", containerPort: INTERNAL_PORTS[tier], protocol: "TCP" };
  if (tier === "archival") return [internal];
  return [{ name: "http", containerPort: PUBLIC_PORTS[tier], protocol: "TCP" }, internal];
}

/**
 * Liveness checks only that the event loop runs, and tolerates a minute, because a restart disconnects
 * viewers. Readiness checks that the process can do its work.
 */
function probesOf(): Record<"startupProbe" | "livenessProbe" | "readinessProbe", V1Probe> {
  const get = (path: string) => ({ httpGet: { path, port: "internal" } });
  return {
    startupProbe: { ...get("/livez"), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...get("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { ...get("/readyz"), periodSeconds: 3, timeoutSeconds: 2, failureThreshold: 2 },
  };
}

/** One directory with one file per Secret. A pod waits until its Secrets exist. */
function secretVolumesOf(tier: TierName, auction: StoredAuction): V1Volume[] {
  const volume = (name: keyof typeof MOUNTS, secretName: string, key: string, path: string) => ({
    name,
    secret: { secretName, items: [{ key, path }], defaultMode: SECRET_MODE },
  });
  const store = (name: "redis" | "nats" | "postgres") => {
    const { name: secretName, key } = urlSecretOf(name, auction);
    return volume(name, secretName, key, "url");
  };
  const access =
    auction.spec.access.jwksUrl === undefined
      ? [volume("access", childName(auction, "access"), "secret", "secret")]
      : [];
  if (tier !== "archival") return [store("redis"), ...access];
  return [
    store("redis"),
    store("nats"),
    store("postgres"),
    ...access,
    volume("operator", childName(auction, "operator"), "token", "token"),
    volume("rules", childName(auction, "rules"), "rules.json", "rules.json"),
  ];
}

/** Placement of every pod of the Auction, including the stores. */
export function placementOf({ spec }: StoredAuction) {
  const { nodeSelector, priorityClassName, tolerations } = spec.tiers.scheduling;
  return {
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(tolerations === undefined ? {} : { tolerations }),
  };
}

const TOPOLOGY_KEYS = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

function spreadOf(auction: StoredAuction, tier: TierName) {
  const { topologySpread } = auction.spec.tiers.scheduling;
  if (topologySpread === "None") return {};
  const topologySpreadConstraints: V1TopologySpreadConstraint[] = TOPOLOGY_KEYS.map(
    (topologyKey) => ({
      maxSkew: 1,
      topologyKey,
      whenUnsatisfiable: topologySpread === "Required" ? "DoNotSchedule" : "ScheduleAnyway",
      labelSelector: { matchLabels: selectorOf(auction, tier) },
      // Count only pods of the same revision: during a rollout the old pods would distort the spread.
      matchLabelKeys: ["pod-template-hash"],
    }),
  );
  return { topologySpreadConstraints };
}

const MEBI = 1024 ** 2;
const KIBI = 1024;
/** 64 KiB of backlog, above which a viewer is conflated, and the socket itself. */
const BYTES_PER_SOCKET = 80 * KIBI;

/** No CPU limit: throttling would add latency when the auction is busiest. */
function defaultResourcesOf(tier: TierName, { spec }: StoredAuction): V1ResourceRequirements {
  switch (tier) {
    case "gateway":
      return { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "512Mi" } };
    case "broadcast": {
      const sockets = spec.tiers.broadcast.maxConnectionsPerPod * BYTES_PER_SOCKET;
      const limit = `${256 + Math.ceil(sockets / MEBI)}Mi`;
      return { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: limit } };
    }
    case "archival":
      return { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "512Mi" } };
  }
}

type Quantities = Readonly<Record<string, string | number>>;
interface GivenResources {
  readonly requests?: Quantities;
  readonly limits?: Quantities;
}

/** Given resources replace all defaults: a default request could exceed a given limit. */
export function resourcesOr(
  given: GivenResources | undefined,
  defaults: V1ResourceRequirements,
): V1ResourceRequirements {
  if (given === undefined) return defaults;
  const texts = (quantities: Quantities) =>
    Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, String(value)]));
  return {
    ...(given.requests === undefined ? {} : { requests: texts(given.requests) }),
    ...(given.limits === undefined ? {} : { limits: texts(given.limits) }),
  };
}
