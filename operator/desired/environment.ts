/** The environment of the pods of each tier. Its types are declared by the processes that read it. */
import type { ArchivalEnv } from "../../services/archival/config.ts";
import type { BroadcastEnv } from "../../services/broadcast/config.ts";
import type { GatewayEnv } from "../../services/gateway/config.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { TierName } from "../api/components.ts";
import type { DesiredInputs } from "./inputs.ts";
import { endpointsOf } from "./endpoints.ts";
import { hostOf } from "./identity.ts";

/** Mount paths of Secrets. Not as subPath: the kubelet does not update those. */
export const MOUNTS = {
  redis: "/etc/gavel/redis",
  nats: "/etc/gavel/nats",
  postgres: "/etc/gavel/postgres",
  access: "/etc/gavel/access",
  operator: "/etc/gavel/operator",
  rules: "/etc/gavel/rules",
} as const;

export const INTERNAL_PORTS = { gateway: 9080, broadcast: 9081, archival: 9082 } as const;
export const PUBLIC_PORTS = { gateway: 8080, broadcast: 8081 } as const;

type Value = string | number | boolean;

/** The variables of a tier, in order. */
export function environmentOf(
  tier: TierName,
  auction: StoredAuction,
  { otlpEndpoint }: Pick<DesiredInputs, "otlpEndpoint">,
): { readonly name: string; readonly value: string }[] {
  const values: Partial<Record<string, Value>> = {
    gateway: gatewayEnv,
    broadcast: broadcastEnv,
    archival: archivalEnv,
  }[tier](auction);
  const telemetry: Partial<TierEnv> =
    otlpEndpoint === null ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint };
  const all = { ...values, ...telemetry };
  return Object.entries(all).map(([name, value]) => ({ name, value: String(value) }));
}

function gatewayEnv(auction: StoredAuction): Partial<GatewayEnv> {
  const { access } = auction.spec;
  return {
    ...processEnv("gateway", auction),
    PORT: PUBLIC_PORTS.gateway,
    STREAM_URL: endpointsOf(auction).stream,
    ARCHIVAL_URL: `http://${hostOf(auction, "archival-internal")}:${INTERNAL_PORTS.archival}`,
    BID_DURABILITY: durabilityOf(auction),
    ALLOWED_ORIGINS: (access.allowedOrigins ?? []).join(","),
  };
}

function broadcastEnv(auction: StoredAuction): Partial<BroadcastEnv> {
  return {
    ...processEnv("broadcast", auction),
    PORT: PUBLIC_PORTS.broadcast,
    BID_DURABILITY: durabilityOf(auction),
    ALLOWED_ORIGINS: streamOriginsOf(auction),
    MAX_SOCKETS: auction.spec.tiers.broadcast.maxConnectionsPerPod,
  };
}

function archivalEnv(auction: StoredAuction): Partial<ArchivalEnv> {
  return {
    ...processEnv("archival", auction),
    NATS_URL_FILE: `${MOUNTS.nats}/url`,
    NATS_STREAM_REPLICAS: auction.spec.backing.nats.streamReplicas,
    POSTGRES_URL_FILE: `${MOUNTS.postgres}/url`,
    RULES_FILE: `${MOUNTS.rules}/rules.json`,
    OPERATOR_TOKEN_FILE: `${MOUNTS.operator}/token`,
    OUTBOX_MAX_BYTES: auction.spec.tiers.archival.outboxMaxBytes,
    ACCEPTED_PER_SECOND: auction.spec.tiers.archival.acceptedPerSecond,
  };
}

type TierEnv = Partial<GatewayEnv & BroadcastEnv & ArchivalEnv>;

function processEnv(tier: TierName, auction: StoredAuction) {
  const { metadata, spec } = auction;
  const { issuer, audience, jwksUrl } = spec.access;
  return {
    AUCTION_UID: metadata.uid,
    REDIS_URL_FILE: `${MOUNTS.redis}/url`,
    ...(jwksUrl === undefined
      ? { TOKEN_SECRET_FILE: `${MOUNTS.access}/secret` }
      : { TOKEN_JWKS_URL: jwksUrl }),
    TOKEN_ISSUER: issuer,
    TOKEN_AUDIENCE: audience,
    INTERNAL_PORT: INTERNAL_PORTS[tier],
    ...drainOf(spec.tiers[tier].terminationGracePeriodSeconds),
  } satisfies TierEnv;
}

const NOTICE_MAX_MS = 5_000;
const MARGIN_MAX_MS = 2_000;
/** The limit of DRAIN_MS itself. */
const DRAIN_MAX_MS = 600_000;

/**
 * Divides the grace period of a pod. During DRAIN_NOTICE_MS (a fifth, limited) the process still takes work
 * while endpoints and proxies remove it, as a sleep in preStop would do. Then it has DRAIN_MS to finish. A
 * tenth (limited) is the margin between the clock of the process and that of the kubelet.
 */
export function drainOf(graceSeconds: number) {
  const graceMs = graceSeconds * 1_000;
  const noticeMs = Math.min(graceMs / 5, NOTICE_MAX_MS);
  const marginMs = Math.min(graceMs / 10, MARGIN_MAX_MS);
  return {
    DRAIN_NOTICE_MS: noticeMs,
    DRAIN_MS: Math.min(graceMs - noticeMs - marginMs, DRAIN_MAX_MS),
  };
}

function durabilityOf({ spec }: StoredAuction): GatewayEnv["BID_DURABILITY"] {
  return spec.backing.redis.durability === "Replica" ? "replica" : "local";
}

/** The gateway serves the page and broadcast does not, so broadcast must allow the origin of the page. */
function streamOriginsOf(auction: StoredAuction): string {
  const { allowedOrigins } = auction.spec.access;
  if (allowedOrigins === undefined) return "*";
  return [...new Set([endpointsOf(auction).bids, ...allowedOrigins])].join(",");
}
