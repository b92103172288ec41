/** A whole auction for one test file: the three stores and the three tiers as processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../../servers/end-with-parent.ts";
import { afterFile } from "./after-file.ts";
import { freePort } from "../../servers/ports.ts";
import { signToken } from "../access/tokens.ts";
import type { AuctionDefinition } from "../store/define-lots.ts";
import { auctionDefinition } from "./auction.ts";
import { startNats, startPostgres, startRedis, type TestServer } from "./servers.ts";
import { until } from "./until.ts";

type Tier = "archival" | "gateway" | "broadcast";

/** A process that a test may kill with SIGKILL and start again. */
interface Killable {
  kill(): Promise<void>;
  restart(): Promise<void>;
}

export interface RunningAuction {
  readonly uid: string;
  readonly gatewayUrl: string;
  readonly streamUrl: string;
  readonly archivalUrl: string;
  /** For health checks and metrics. */
  readonly internalUrls: Readonly<Record<Tier, string>>;
  readonly redisUrl: string;
  readonly natsUrl: string;
  readonly postgresUrl: string;
  readonly parts: Record<Tier, Killable> & Stores;
  token(bidderId: string): Promise<string>;
  /** Kills the tiers and the stores that it started; the end of the test file does, too. */
  stop(): Promise<void>;
}

type Stores = Record<"redis" | "nats" | "postgres", TestServer>;

const SECRET = "a secret for tests, of more than 32 bytes";

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

/**
 * Starts all processes, waits until they are ready, and opens the auction.
 * @param shared stores that the auction uses, in place of its own
 */
export async function startAuction(
  changes: Partial<AuctionDefinition> = {},
  env: NodeJS.ProcessEnv = {},
  shared: Partial<Stores> = {},
): Promise<RunningAuction> {
  const [redis, nats, postgres] = await Promise.all([
    shared.redis ?? startRedis(),
    shared.nats ?? startNats(),
    shared.postgres ?? startPostgres(),
  ]);
  const definition = auctionDefinition(changes);
  const dir = mkdtempSync(join(tmpdir(), "gavel-auction-"));
  afterFile(() => rmSync(dir, { recursive: true, force: true }));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const [port, streamPort] = [await freePort(), await freePort()];
  const internal = {
    archival: await freePort(),
    gateway: await freePort(),
    broadcast: await freePort(),
  };
  const common = {
    AUCTION_UID: definition.uid,
    REDIS_URL_FILE: file("redis-url", redis.url),
    TOKEN_SECRET_FILE: file("token-secret", SECRET),
    HOST: "127.0.0.1",
    LOG_LEVEL: "error",
    ...env,
  };
  const environment: Record<Tier, NodeJS.ProcessEnv> = {
    archival: {
      NATS_URL_FILE: file("nats-url", nats.url),
      POSTGRES_URL_FILE: file("postgres-url", postgres.url),
      RULES_FILE: file("rules.json", JSON.stringify(definition)),
    },
    gateway: {
      PORT: String(port),
      STREAM_URL: `ws://127.0.0.1:${streamPort}/v1/stream`,
      ARCHIVAL_URL: `http://127.0.0.1:${internal.archival}`,
    },
    broadcast: { PORT: String(streamPort) },
  };
  const start = (tier: Tier) =>
    startTier(tier, internal[tier], {
      ...common,
      ...environment[tier],
      INTERNAL_PORT: String(internal[tier]),
    });
  const [archival, gateway, broadcast] = await Promise.all([
    start("archival"),
    start("gateway"),
    start("broadcast"),
  ]);

  const token = (sub: string, scope = "bid") =>
    signToken(SECRET, { sub, scope, issuer: "gavel", audience: "gavel", lifetimeSeconds: 3_600 });
  const admin = await token("owner", "admin");
  await until("the auction is open", async () => {
    const response = await fetch(`http://127.0.0.1:${internal.archival}/internal/v1/open`, {
      method: "POST",
      headers: { authorization: `Bearer ${admin}` },
    });
    return response.ok;
  });
  return {
    uid: definition.uid,
    gatewayUrl: `http://127.0.0.1:${port}`,
    streamUrl: `ws://127.0.0.1:${streamPort}/v1/stream`,
    archivalUrl: `http://127.0.0.1:${internal.archival}`,
    internalUrls: {
      archival: `http://127.0.0.1:${internal.archival}`,
      gateway: `http://127.0.0.1:${internal.gateway}`,
      broadcast: `http://127.0.0.1:${internal.broadcast}`,
    },
    redisUrl: redis.url,
    natsUrl: nats.url,
    postgresUrl: postgres.url,
    parts: { redis, nats, postgres, archival, gateway, broadcast },
    token,
    async stop() {
      const stores = { redis, nats, postgres };
      const own = (["redis", "nats", "postgres"] as const).filter((name) => !shared[name]);
      await Promise.all([archival, gateway, broadcast].map((tier) => tier.kill()));
      await Promise.all(own.map((name) => stores[name].kill()));
    },
  };
}

async function startTier(
  tier: Tier,
  internalPort: number,
  env: NodeJS.ProcessEnv,
): Promise<Killable> {
  const main = fileURLToPath(new URL(`../${tier}/main.ts`, import.meta.url));
  const launch = async (): Promise<ChildProcess> => {
    const child = spawn(...endWithParent(process.execPath, [main]), {
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit"],
    });
    running.add(child);
    await until(
      `the ${tier} is ready`,
      async () => (await fetch(`http://127.0.0.1:${internalPort}/readyz`)).ok,
    );
    return child;
  };
  let child = await launch();
  const kill = async (): Promise<void> => {
    running.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  afterFile(kill);
  return {
    kill,
    async restart() {
      await kill();
      child = await launch();
    },
  };
}
