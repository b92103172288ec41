/**
 * A whole auction as processes, with a fault proxy between every two parts: two gateways, two broadcasts,
 * two archivals (one of them at work), Redis, NATS and Postgres, each on a disk of its own.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../servers/ports.ts";
import {
  removePostgresData,
  startNats,
  startPostgres,
  startRedis,
} from "../servers/store-servers.ts";
import { signToken } from "../services/access/tokens.ts";
import type { AuctionDefinition } from "../services/store/define-lots.ts";
import { FaultProxy } from "../services/testing/fault-proxy.ts";
import { until } from "../services/testing/until.ts";
import { type Disk, mountDisk } from "./disk.ts";
import { type Part, StorePart, TierPart } from "./part.ts";

export const STORES = ["redis", "nats", "postgres"] as const;
export const TIERS = [
  "gateway-1",
  "gateway-2",
  "broadcast-1",
  "broadcast-2",
  "archival-1",
  "archival-2",
] as const;
export type StoreName = (typeof STORES)[number];
export type TierName = (typeof TIERS)[number];
export type PartName = StoreName | TierName;

/** Who calls whom, by what is at the other end: each has a proxy. */
export const LINKS: readonly (readonly [from: string, to: PartName])[] = [
  ...(["gateway-1", "gateway-2", "broadcast-1", "broadcast-2"] as const).flatMap((tier) => [
    ["load", tier] as const,
    [tier, "redis"] as const,
  ]),
  ...(["archival-1", "archival-2"] as const).flatMap((tier) =>
    STORES.map((store) => [tier, store] as const),
  ),
  ["gateway-1", "archival-1"],
  ["gateway-2", "archival-2"],
];
export const linkName = (from: string, to: string): string => `${from}>${to}`;

export const SECRET = "a secret for the fault runs, of more than 32 bytes";

export interface System {
  readonly dir: string;
  readonly definition: AuctionDefinition;
  readonly parts: Readonly<Record<PartName, Part>>;
  readonly proxies: ReadonlyMap<string, FaultProxy>;
  readonly disks: Readonly<Record<StoreName, Disk>>;
  /** Where each store keeps what it has. */
  readonly dataOf: (store: StoreName) => string;
  /** Past every proxy. */
  readonly urls: Readonly<Record<StoreName, string>>;
  readonly internalUrl: (tier: TierName) => string;
  open(): Promise<void>;
  stop(): Promise<void>;
}

const running = new Set<() => Promise<void>>();

/** For a process that is told to end: leaves no process and no disk behind. */
export async function stopSystems(): Promise<void> {
  for (const stop of running) await stop();
}

export async function startSystem(
  definition: AuctionDefinition,
  outboxMaxBytes: number,
  log: (line: string) => void,
): Promise<System> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-faults-"));
  chmodSync(dir, 0o755); // Postgres is another one, and must reach its disk.
  const stops: (() => unknown)[] = [() => rmSync(dir, { recursive: true, force: true })];
  const stop = async () => {
    for (const step of stops.splice(0).reverse()) await step();
    running.delete(stop);
  };
  running.add(stop);
  try {
    return await start(definition, outboxMaxBytes, log, dir, stops, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  definition: AuctionDefinition,
  outboxMaxBytes: number,
  log: (line: string) => void,
  dir: string,
  stops: (() => unknown)[],
  stop: () => Promise<void>,
): Promise<System> {
  log("starting redis, nats and postgres");
  const { parts: stores, disks, dataOf, urls } = await startStores(dir, stops);
  const ports: Record<string, number> = {};
  for (const tier of TIERS) {
    ports[tier] = await freePort();
    ports[`${tier} internal`] = tier.startsWith("archival") ? ports[tier] : await freePort();
  }
  for (const store of STORES) ports[store] = Number(new URL(urls[store]).port);

  const proxies = new Map<string, FaultProxy>();
  for (const [from, to] of LINKS) {
    const proxy = new FaultProxy(linkName(from, to), ports[to]!);
    await proxy.listen();
    stops.push(() => proxy.close());
    proxies.set(proxy.name, proxy);
  }

  log("starting the tiers");
  const portOf = (from: string, to: string) => proxies.get(linkName(from, to))!.port;
  const environment = environmentOf({ dir, definition, urls, ports, portOf, outboxMaxBytes });
  const tiers = Object.fromEntries(
    TIERS.map((name) => {
      const log = join(dir, `${name}.log`);
      const internalPort = ports[`${name} internal`]!;
      const tier = name.split("-")[0]!;
      return [name, new TierPart(name, tier, internalPort, environment(name), log)];
    }),
  ) as unknown as Record<TierName, Part>;
  for (const tier of Object.values(tiers)) stops.push(() => tier.kill());
  await Promise.all(Object.values(tiers).map((tier) => tier.start()));

  const internalUrl = (tier: TierName) => `http://127.0.0.1:${ports[`${tier} internal`]}`;
  return {
    dir,
    definition,
    parts: { ...stores, ...tiers },
    proxies,
    disks,
    dataOf,
    urls,
    internalUrl,
    open: () => openAuction(internalUrl("archival-1")),
    stop,
  };
}

async function startStores(dir: string, stops: (() => unknown)[]) {
  const launchers = {
    redis: startRedis,
    nats: startNats,
    postgres: (at: { dir: string; port: number }) => startPostgres(at, "test"),
  };
  const parts = {} as Record<StoreName, Part>;
  const disks = {} as Record<StoreName, Disk>;
  const urls = {} as Record<StoreName, string>;
  const dataOf = (store: StoreName) => join(dir, store, "store");
  for (const store of STORES) {
    const disk = mountDisk(join(dir, store));
    stops.push(() => disk.unmount());
    disks[store] = disk;
    mkdirSync(join(dir, "log"), { recursive: true });
    const at = { dir: dataOf(store), port: await freePort() };
    const launch = async () => {
      const server = await launchers[store](at);
      urls[store] = server.url;
      return server;
    };
    const part = await StorePart.launch(store, join(at.dir, `${store}.log`), launch);
    stops.push(async () => {
      part.signal("SIGCONT");
      await part.kill();
      removePostgresData(at.dir);
    });
    parts[store] = part;
  }
  return { parts, disks, dataOf, urls };
}

interface Surroundings {
  readonly dir: string;
  readonly definition: AuctionDefinition;
  readonly urls: Readonly<Record<StoreName, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly portOf: (from: string, to: string) => number;
  readonly outboxMaxBytes: number;
}

function environmentOf(of: Surroundings): (tier: TierName) => NodeJS.ProcessEnv {
  const file = (name: string, text: string) => {
    writeFileSync(join(of.dir, name), text, { mode: 0o600 });
    return join(of.dir, name);
  };
  const through = (tier: TierName, store: StoreName) => {
    const url = new URL(of.urls[store]);
    url.port = String(of.portOf(tier, store));
    return file(`${tier}-${store}-url`, url.href);
  };
  const shared = {
    AUCTION_UID: of.definition.uid,
    TOKEN_SECRET_FILE: file("token-secret", SECRET),
    HOST: "127.0.0.1",
    LOG_LEVEL: "info",
    DRAIN_MS: "5000",
  };
  const rules = file("rules.json", JSON.stringify(of.definition));
  return (name) => {
    const [tier, n] = name.split("-") as [string, string];
    const own = {
      ...shared,
      REDIS_URL_FILE: through(name, "redis"),
      INTERNAL_PORT: String(of.ports[`${name} internal`]),
    };
    if (tier === "gateway") {
      return {
        ...own,
        PORT: String(of.ports[name]),
        STREAM_URL: `ws://127.0.0.1:${of.portOf("load", `broadcast-${n}`)}/v1/stream`,
        ARCHIVAL_URL: `http://127.0.0.1:${of.portOf(name, `archival-${n}`)}`,
      };
    }
    if (tier === "broadcast") {
      return { ...own, PORT: String(of.ports[name]), MESSAGES_PER_SECOND: "10000" };
    }
    return {
      ...own,
      NATS_URL_FILE: through(name, "nats"),
      POSTGRES_URL_FILE: through(name, "postgres"),
      RULES_FILE: rules,
      OUTBOX_MAX_BYTES: String(of.outboxMaxBytes),
    };
  };
}

/** As the operator does it, once the tiers are ready. */
async function openAuction(archivalUrl: string): Promise<void> {
  const claims = { sub: "owner", scope: "admin", lifetimeSeconds: 3_600 };
  const token = await signToken(SECRET, claims);
  await until(
    "the auction is open",
    async () => {
      const headers = { authorization: `Bearer ${token}` };
      const url = `${archivalUrl}/internal/v1/open`;
      return (await fetch(url, { method: "POST", headers })).ok;
    },
    60_000,
  );
}
