/** The pods of the tiers. Whatever changes here restarts them, so rules and connections are not part of it. */
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

/** The user of our image. */
const TIER_USER = 1000;

/** As a Deployment or a StatefulSet holds it. */
export interface PodTemplate {
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: object;
}

/**
 * Of a tier's pods. Its revision does not change with rules, lots, the content of connection Secrets,
 * or the number of pods.
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
          // One program, no shell and no npm between it and its signals.
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

/** A short hash of all that would restart a pod. The same template has the same, whenever and wherever. */
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

/** The same Deployment or StatefulSet with the pods of another revision. */
export function withPodTemplate(object: KubeObject, template: PodTemplate): KubeObject {
  return { ...object, spec: { ...(object["spec"] as object), template } };
}

function portsOf(tier: TierName) {
  const internal = { name: "internal", containerPort: INTERNAL_PORTS[tier], protocol: "TCP" };
  if (tier === "archival") return [internal];
  return [{ name: "http", containerPort: PUBLIC_PORTS[tier], protocol: "TCP" }, internal];
}

/**
 * Liveness asks only whether the event loop turns, and gives a busy one a minute: a restart loses
 * viewers. Readiness asks what the process can do.
 */
function probesOf(): Record<"startupProbe" | "livenessProbe" | "readinessProbe", V1Probe> {
  const get = (path: string) => ({ httpGet: { path, port: "internal" } });
  return {
    startupProbe: { ...get("/livez"), periodSeconds: 1, timeoutSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...get("/livez"), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { ...get("/readyz"), periodSeconds: 3, timeoutSeconds: 2, failureThreshold: 2 },
  };
}

/** Directories with one file each. A Secret that is missing keeps the pod waiting, and is then seen. */
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

/** Of every pod of the Auction, its stores included. */
export function placementOf({ spec }: StoredAuction) {
  const { nodeSelector, priorityClassName, tolerations } = spec.tiers.scheduling;
  return {
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(tolerations === undefined ? {} : { tolerations }),
  };
}

const SPREAD_OVER = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

function spreadOf(auction: StoredAuction, tier: TierName) {
  const { topologySpread } = auction.spec.tiers.scheduling;
  if (topologySpread === "None") return {};
  const topologySpreadConstraints: V1TopologySpreadConstraint[] = SPREAD_OVER.map(
    (topologyKey) => ({
      maxSkew: 1,
      topologyKey,
      whenUnsatisfiable: topologySpread === "Required" ? "DoNotSchedule" : "ScheduleAnyway",
      labelSelector: { matchLabels: selectorOf(auction, tier) },
      // Only pods of one revision are counted: those that are being replaced would skew it.
      matchLabelKeys: ["pod-template-hash"],
    }),
  );
  return { topologySpreadConstraints };
}

const MEBI = 1024 ** 2;
const KIBI = 1024;
/** A viewer over 64 KiB of backlog is conflated; the rest is its socket's. */
const BYTES_A_SOCKET = 80 * KIBI;

/** No limit of CPU: throttling would cost latency exactly when the auction is busiest. */
function defaultResourcesOf(tier: TierName, { spec }: StoredAuction): V1ResourceRequirements {
  switch (tier) {
    case "gateway":
      return { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "512Mi" } };
    case "broadcast": {
      const sockets = spec.tiers.broadcast.maxConnectionsPerPod * BYTES_A_SOCKET;
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

/** What is given replaces the defaults whole: a request of ours could be above a limit of theirs. */
export function resourcesOr(
  given: GivenResources | undefined,
  otherwise: V1ResourceRequirements,
): V1ResourceRequirements {
  if (given === undefined) return otherwise;
  const texts = (quantities: Quantities) =>
    Object.fromEntries(Object.entries(quantities).map(([name, value]) => [name, String(value)]));
  return {
    ...(given.requests === undefined ? {} : { requests: texts(given.requests) }),
    ...(given.limits === undefined ? {} : { limits: texts(given.limits) }),
  };
}
