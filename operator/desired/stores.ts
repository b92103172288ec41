/**
 * Managed stores: one replica each, for development and tests. The commands work with the official images
 * and with any other image that has the same programs on PATH. Passwords come from mounted files.
 */
import type {
  V1Container,
  V1Probe,
  V1ResourceRequirements,
  V1Volume,
} from "@kubernetes/client-node";
import type { StoredAuction } from "../api/auction-resource.ts";
import { type StoreName, STORES } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { childName, keptMetadata, labelsOf, selectorOf } from "./identity.ts";
import { placementOf, resourcesOr, withRevision } from "./pod-template.ts";
import { RESTRICTED_CONTAINER, restrictedPod, SECRET_MODE } from "./restricted.ts";
import { managedMaxMemory } from "./capacity.ts";
import { DATABASE, isManaged, STORE_PORTS } from "./secrets.ts";

export const managedStoresOf = (auction: StoredAuction): readonly StoreName[] =>
  STORES.filter((store) => isManaged(store, auction));

export function storeServicesOf(auction: StoredAuction): KubeObject[] {
  return managedStoresOf(auction).map((store) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: keptMetadata(auction, store, store),
    spec: {
      type: "ClusterIP",
      selector: selectorOf(auction, store),
      ports: [{ name: store, protocol: "TCP", port: STORE_PORTS[store], targetPort: store }],
    },
  }));
}

const DATA_DIR = "/data";
const SECRET_DIR = "/etc/gavel/store";

/** The settings that differ between stores. */
interface Recipe {
  /** Keys of the Secret that are mounted in the pod. */
  readonly secretKeys: readonly string[];
  readonly container: Partial<V1Container>;
  /** Writable folders that are not kept. */
  readonly scratchDirs: readonly string[];
  readonly resources: V1ResourceRequirements;
  readonly graceSeconds: number;
}

export function statefulSetsOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return managedStoresOf(auction).map((store) => statefulSetOf(store, auction, inputs));
}

function statefulSetOf(
  store: StoreName,
  auction: StoredAuction,
  inputs: DesiredInputs,
): KubeObject {
  const { managed } = auction.spec.backing[store];
  const recipe = RECIPES[store](auction);
  const { container, scratchDirs, graceSeconds } = recipe;
  const template = withRevision({
    metadata: { labels: labelsOf(auction, store), annotations: {} },
    spec: {
      serviceAccountName: childName(auction, store),
      ...restrictedPod(inputs.storeUsers[store]),
      ...placementOf(auction),
      terminationGracePeriodSeconds: graceSeconds,
      containers: [
        {
          name: store,
          image: managed?.image ?? inputs.images[store],
          imagePullPolicy: inputs.imagePullPolicy,
          ports: [{ name: store, containerPort: STORE_PORTS[store], protocol: "TCP" }],
          ...container,
          resources: resourcesOr(managed?.resources, recipe.resources),
          securityContext: RESTRICTED_CONTAINER,
          volumeMounts: [
            { name: "data", mountPath: DATA_DIR },
            { name: "secret", mountPath: SECRET_DIR, readOnly: true },
            ...scratchDirs.map((mountPath, i) => ({ name: `scratch-${i}`, mountPath })),
          ],
        },
      ],
      volumes: volumesOf(store, auction, recipe),
    },
  });
  return {
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: keptMetadata(auction, store, store),
    spec: {
      replicas: 1,
      serviceName: childName(auction, store),
      selector: { matchLabels: selectorOf(auction, store) },
      template,
      volumeClaimTemplates: [claimOf(store, auction)],
      // Volumes are kept when this object is deleted or scaled. Only the finalizer removes them.
      persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
    },
  };
}

function claimOf(store: StoreName, auction: StoredAuction) {
  const storage = auction.spec.backing[store].managed?.storage;
  const storageClassName = storage?.storageClassName;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name: "data", labels: labelsOf(auction, store) },
    spec: {
      // Not ReadWriteOncePod, which only CSI drivers support: there is only one replica.
      accessModes: ["ReadWriteOnce"],
      resources: { requests: { storage: storage?.size ?? "1Gi" } },
      ...(storageClassName === undefined ? {} : { storageClassName }),
    },
  };
}

function volumesOf(store: StoreName, auction: StoredAuction, recipe: Recipe): V1Volume[] {
  const items = recipe.secretKeys.map((key) => ({ key, path: key }));
  const secretName = childName(auction, store);
  return [
    { name: "secret", secret: { secretName, items, defaultMode: SECRET_MODE } },
    ...recipe.scratchDirs.map((_, i) => ({
      name: `scratch-${i}`,
      emptyDir: { sizeLimit: "64Mi" },
    })),
  ];
}

const RECIPES: Readonly<Record<StoreName, (auction: StoredAuction) => Recipe>> = {
  redis: redisRecipe,
  nats: natsRecipe,
  postgres: postgresRecipe,
};

/** Loading data from disk may take long, and a restart would repeat it. */
const STARTUP = { periodSeconds: 2, failureThreshold: 150 };
const LIVENESS = { periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 };
const READINESS = { periodSeconds: 3, timeoutSeconds: 3, failureThreshold: 2 };

function probes(alive: V1Probe, ready: V1Probe) {
  return {
    startupProbe: { ...ready, timeoutSeconds: 3, ...STARTUP },
    livenessProbe: { ...alive, ...LIVENESS },
    readinessProbe: { ...ready, ...READINESS },
  };
}

const shell = (script: string) => ["sh", "-c", script];
const MEBI = 1024 ** 2;

/** Redis writes to disk before it answers, and evicts nothing. */
function redisRecipe({ spec }: StoredAuction): Recipe {
  const ping = `REDISCLI_AUTH="$(cat ${SECRET_DIR}/password)" redis-cli ping | grep -q PONG`;
  const { maxMemoryBytes, processBytes } = managedMaxMemory(spec);
  return {
    secretKeys: ["redis.conf", "password"],
    container: {
      command: ["redis-server", `${SECRET_DIR}/redis.conf`],
      args: [
        "--dir",
        DATA_DIR,
        "--port",
        String(STORE_PORTS.redis),
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
        "--maxmemory",
        String(maxMemoryBytes),
      ],
      ...probes({ tcpSocket: { port: "redis" } }, { exec: { command: shell(ping) } }),
    },
    scratchDirs: [],
    resources: {
      requests: { cpu: "25m", memory: "128Mi" },
      limits: { memory: `${processBytes / MEBI}Mi` },
    },
    graceSeconds: 30,
  };
}

/** The entrypoint of the image starts the server with these arguments. */
function natsRecipe(): Recipe {
  const healthy = (path: string) => ({ httpGet: { path, port: "monitoring" } });
  return {
    secretKeys: ["nats.conf"],
    container: {
      args: [
        "--config",
        `${SECRET_DIR}/nats.conf`,
        "--jetstream",
        "--store_dir",
        DATA_DIR,
        "--addr",
        "0.0.0.0",
        "--port",
        String(STORE_PORTS.nats),
        "--http_port",
        "8222",
      ],
      ports: [
        { name: "nats", containerPort: STORE_PORTS.nats, protocol: "TCP" },
        { name: "monitoring", containerPort: 8222, protocol: "TCP" },
      ],
      ...probes(healthy("/healthz?js-enabled-only=true"), healthy("/healthz?js-server-only=true")),
    },
    scratchDirs: [],
    resources: { requests: { cpu: "25m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    graceSeconds: 30,
  };
}

/**
 * The entrypoint of the image creates the database. A shell sets the password in the environment of that
 * process only, because some images do not read POSTGRES_PASSWORD_FILE. Postgres demands a data folder with
 * mode 700, which the fsGroup of the volume may have changed.
 */
function postgresRecipe(): Recipe {
  const start =
    `POSTGRES_PASSWORD="$(cat ${SECRET_DIR}/password)" && export POSTGRES_PASSWORD && ` +
    'mkdir -p "$PGDATA" && chmod 700 "$PGDATA" && exec docker-entrypoint.sh postgres "$@"';
  const ready = `pg_isready -q -h 127.0.0.1 -U ${DATABASE} -d ${DATABASE}`;
  return {
    secretKeys: ["password"],
    container: {
      command: [...shell(start), "docker-entrypoint.sh"],
      args: ["-c", "max_connections=50"],
      env: [
        { name: "POSTGRES_USER", value: DATABASE },
        { name: "POSTGRES_DB", value: DATABASE },
        { name: "PGDATA", value: `${DATA_DIR}/pgdata` },
      ],
      // After SIGTERM alone, Postgres waits until every session ends.
      lifecycle: {
        preStop: { exec: { command: shell('pg_ctl stop -m fast -t 45 -D "$PGDATA"') } },
      },
      ...probes({ tcpSocket: { port: "postgres" } }, { exec: { command: shell(ready) } }),
    },
    // Images put the socket and its lock here.
    scratchDirs: ["/tmp", "/var/run/postgresql"],
    resources: { requests: { cpu: "25m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    graceSeconds: 60,
  };
}
