/**
 * The auction under test: two gateways, two broadcasts, two archivals (one active), Redis, NATS and Postgres as
 * processes, each store on its own disk, with a fault proxy on every connection.
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
import { type ManagedProcess, StoreProcess, TierProcess } from "./managed-process.ts";

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
export type ProcessName = StoreName | TierName;

/** The connections between processes. Each has a proxy. */
export const LINKS: readonly (readonly [from: string, to: ProcessName])[] = [
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
  readonly processes: Readonly<Record<ProcessName, ManagedProcess>>;
  readonly proxies: ReadonlyMap<string, FaultProxy>;
  readonly disks: Readonly<Record<StoreName, Disk>>;
  /** Data folder of a store. */
  readonly dataOf: (store: StoreName) => string;
  /** Direct URLs, without a proxy. */
  readonly urls: Readonly<Record<StoreName, string>>;
  readonly internalUrl: (tier: TierName) => string;
  open(): Promise<void>;
  stop(): Promise<void>;
}

const running = new Set<() => Promise<void>>();

/** For signal handlers: stops every process and unmounts every disk. */
export async function stopSystems(): Promise<void> {
  for (const stop of running) await stop();
}

export async function startSystem(
  definition: AuctionDefinition,
  outboxMaxBytes: number,
  log: (line: string) => void,
): Promise<System> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-faults-"));
  chmodSync(dir, 0o755); // Postgres runs as another user and must reach its disk.
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
  const { processes: stores, disks, dataOf, urls } = await startStores(dir, stops);
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
      return [name, new TierProcess(name, tier, internalPort, environment(name), log)];
    }),
  ) as unknown as Record<TierName, ManagedProcess>;
  for (const tier of Object.values(tiers)) stops.push(() => tier.kill());
  await Promise.all(Object.values(tiers).map((tier) => tier.start()));

  const internalUrl = (tier: TierName) => `http://127.0.0.1:${ports[`${tier} internal`]}`;
  return {
    dir,
    definition,
    processes: { ...stores, ...tiers },
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
  const processes = {} as Record<StoreName, ManagedProcess>;
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
    const managed = await StoreProcess.launch(store, join(at.dir, `${store}.log`), launch);
    stops.push(async () => {
      managed.signal("SIGCONT");
      await managed.kill();
      removePostgresData(at.dir);
    });
    processes[store] = managed;
  }
  return { processes, disks, dataOf, urls };
}

interface Environment {
  readonly dir: string;
  readonly definition: AuctionDefinition;
  readonly urls: Readonly<Record<StoreName, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly portOf: (from: string, to: string) => number;
  readonly outboxMaxBytes: number;
}

function environmentOf(system: Environment): (tier: TierName) => NodeJS.ProcessEnv {
  const file = (name: string, text: string) => {
    writeFileSync(join(system.dir, name), text, { mode: 0o600 });
    return join(system.dir, name);
  };
  const through = (tier: TierName, store: StoreName) => {
    const url = new URL(system.urls[store]);
    url.port = String(system.portOf(tier, store));
    return file(`${tier}-${store}-url`, url.href);
  };
  const shared = {
    AUCTION_UID: system.definition.uid,
    TOKEN_SECRET_FILE: file("token-secret", SECRET),
    HOST: "127.0.0.1",
    LOG_LEVEL: "info",
    DRAIN_MS: "5000",
  };
  const rules = file("rules.json", JSON.stringify(system.definition));
  return (name) => {
    const [tier, n] = name.split("-") as [string, string];
    const own = {
      ...shared,
      REDIS_URL_FILE: through(name, "redis"),
      INTERNAL_PORT: String(system.ports[`${name} internal`]),
    };
    if (tier === "gateway") {
      return {
        ...own,
        PORT: String(system.ports[name]),
        STREAM_URL: `ws://127.0.0.1:${system.portOf("load", `broadcast-${n}`)}/v1/stream`,
        ARCHIVAL_URL: `http://127.0.0.1:${system.portOf(name, `archival-${n}`)}`,
      };
    }
    if (tier === "broadcast") {
      return { ...own, PORT: String(system.ports[name]), MESSAGES_PER_SECOND: "10000" };
    }
    return {
      ...own,
      NATS_URL_FILE: through(name, "nats"),
      POSTGRES_URL_FILE: through(name, "postgres"),
      RULES_FILE: rules,
      OUTBOX_MAX_BYTES: String(system.outboxMaxBytes),
      ACCEPTED_PER_SECOND: "10000", // As fast as this machine can.
    };
  };
}

/** Opens the auction as the operator does. */
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
