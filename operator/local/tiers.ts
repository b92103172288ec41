/** Starts the three tiers as processes of this machine, each with the environment that its config.ts declares. */
import { existsSync, renameSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ArchivalEnv } from "../../services/archival/config.ts";
import type { BroadcastEnv } from "../../services/broadcast/config.ts";
import type { GatewayEnv } from "../../services/gateway/config.ts";
import { addressesOf } from "../../services/runtime/listen.ts";
import type { LocalEnv } from "./config.ts";
import type { Spec } from "../api/auction-resource.ts";
import type { TierName } from "../api/components.ts";
import { type DataFolder, START_ORDER } from "./data-folder.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";

/** Below the 10 s after which the supervisor kills a process that does not stop. */
const DRAIN_MS = 8_000;

const LOOPBACK = "127.0.0.1";

const REPOSITORY = new URL("../../", import.meta.url);

export interface Endpoints {
  readonly gateway: string;
  readonly stream: string;
  /** Base URL for health and metrics of each tier's first process. */
  readonly internal: Readonly<Record<TierName, string>>;
  /** Every process of a tier, in the order of their start. */
  readonly processes: readonly TierProcess[];
}

/** One process of a tier: `gateway`, `gateway-2` … */
export interface TierProcess {
  readonly name: string;
  readonly tier: TierName;
  readonly internalPort: number;
  /** Base URL for health and metrics. */
  readonly internal: string;
}

/** Between the internal ports of two processes of a tier. */
const REPLICA_PORT_STEP = 100;

function processOf(tier: TierName, n: number, env: LocalEnv): TierProcess {
  const port = internalPort(tier, env) + n * REPLICA_PORT_STEP;
  const name = n === 0 ? tier : `${tier}-${n + 1}`;
  return { name, tier, internalPort: port, internal: `http://${LOOPBACK}:${port}` };
}

/** The tier of a process by its name: `gateway` of `gateway-2`. Any other name stays as it is. */
export function tierOfProcess(name: string): string {
  return name.replace(/-\d+$/, "");
}

export function endpointsOf(env: LocalEnv): Endpoints {
  const internal = (tier: TierName) => processOf(tier, 0, env).internal;
  return {
    gateway: `http://${env.PUBLIC_HOST}:${env.GATEWAY_PORT}`,
    stream: `ws://${env.PUBLIC_HOST}:${env.BROADCAST_PORT}/v1/stream`,
    internal: {
      archival: internal("archival"),
      gateway: internal("gateway"),
      broadcast: internal("broadcast"),
    },
    processes: START_ORDER.flatMap((tier) =>
      Array.from({ length: env.REPLICAS }, (_, n) => processOf(tier, n, env)),
    ),
  };
}

function internalPort(tier: TierName, env: LocalEnv): number {
  const { ARCHIVAL_INTERNAL_PORT, GATEWAY_INTERNAL_PORT, BROADCAST_INTERNAL_PORT } = env;
  return {
    archival: ARCHIVAL_INTERNAL_PORT,
    gateway: GATEWAY_INTERNAL_PORT,
    broadcast: BROADCAST_INTERNAL_PORT,
  }[tier];
}

type Environment = Readonly<Record<string, string | number | boolean>>;

/** The environment of a tier. Its types are declared by the process that reads it. */
function environmentOf(
  { tier, internalPort }: TierProcess,
  auctionUid: string,
  folder: DataFolder,
  env: LocalEnv,
  spec: Spec,
): Environment {
  const common = {
    AUCTION_UID: auctionUid,
    REDIS_URL_FILE: folder.urlFile("redis"),
    TOKEN_SECRET_FILE: folder.tokenSecretFile,
    INTERNAL_PORT: internalPort,
    DRAIN_MS,
  };
  const { internal, stream } = endpointsOf(env);
  // Only the two public ports are opened to other machines. Explicit, because a shell may export HOST.
  const listen = {
    HOST: env.LISTEN_HOST === LOOPBACK ? "localhost" : addressesOf(undefined)[0],
    INTERNAL_HOST: LOOPBACK,
    REUSE_PORT: env.REPLICAS > 1,
  };
  const gateway: Partial<GatewayEnv> = {
    ...common,
    ...listen,
    PORT: env.GATEWAY_PORT,
    STREAM_URL: stream,
    ARCHIVAL_URL: internal.archival,
    BID_STRATEGY: env.BID_STRATEGY,
  };
  const broadcast: Partial<BroadcastEnv> = {
    ...common,
    ...listen,
    PORT: env.BROADCAST_PORT,
    BID_STRATEGY: env.BID_STRATEGY,
  };
  const archival: Partial<ArchivalEnv> = {
    ...common,
    HOST: LOOPBACK,
    NATS_URL_FILE: folder.urlFile("nats"),
    POSTGRES_URL_FILE: folder.urlFile("postgres"),
    RULES_FILE: folder.rulesFile,
    OUTBOX_MAX_BYTES: spec.tiers.archival.outboxMaxBytes,
    ACCEPTED_PER_SECOND: spec.tiers.archival.acceptedPerSecond,
  };
  return { gateway, broadcast, archival }[tier] as Environment;
}

const LOG_MAX_BYTES = 50 * 1024 * 1024;

export function startTier(
  started: TierProcess,
  auctionUid: string,
  folder: DataFolder,
  env: LocalEnv,
  spec: Spec,
  onSpawn: (pid: number) => void,
): Promise<ServerProcess> {
  const { name, tier, internalPort: port, internal } = started;
  const logFile = folder.logFile(name);
  if (existsSync(logFile) && statSync(logFile).size > LOG_MAX_BYTES) {
    renameSync(logFile, `${logFile}.1`);
  }
  const values = Object.entries(environmentOf(started, auctionUid, folder, env, spec));
  return startServer({
    name,
    command: process.execPath,
    args: [fileURLToPath(new URL(`services/${tier}/main.ts`, REPOSITORY))],
    cwd: folder.path,
    logFile,
    url: internal,
    port,
    stopSignal: "SIGTERM",
    onSpawn,
    env: Object.fromEntries(values.map(([variable, value]) => [variable, String(value)])),
  });
}

const HEALTH_TIMEOUT_MS = 2_000;

type Readiness = { readonly ready: true } | { readonly ready: false; readonly reason: string };

export async function readinessOf(internalUrl: string): Promise<Readiness> {
  try {
    const signal = AbortSignal.timeout(HEALTH_TIMEOUT_MS);
    const response = await fetch(`${internalUrl}/readyz`, { signal });
    if (response.ok) return { ready: true };
    const { why } = (await response.json()) as { why?: string };
    return { ready: false, reason: why ?? `answers ${response.status}` };
  } catch {
    return { ready: false, reason: "does not answer" };
  }
}

/** Every port on which a run listens, with the variable that sets it. */
export function portsOf(env: LocalEnv): { variable: keyof LocalEnv; port: number }[] {
  const variables = [
    "GATEWAY_PORT",
    "BROADCAST_PORT",
    "REDIS_PORT",
    "NATS_PORT",
    "POSTGRES_PORT",
    ...(env.OBSERVE ? ["PROMETHEUS_PORT"] : []),
  ] as (keyof LocalEnv)[];
  const internal = endpointsOf(env).processes.map(({ tier, internalPort: port }) => {
    return { variable: `${tier.toUpperCase()}_INTERNAL_PORT` as keyof LocalEnv, port };
  });
  return [
    ...variables.map((variable) => ({ variable, port: env[variable] as number })),
    ...internal,
  ];
}
