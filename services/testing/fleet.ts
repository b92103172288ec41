/** The tiers of one auction as processes, several of each tier, behind a load balancer that checks readiness. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { endWithParent } from "../../servers/end-with-parent.ts";
import { afterFile } from "./after-file.ts";
import { freePort } from "../../servers/ports.ts";
import { signToken } from "../access/tokens.ts";
import type { AuctionDefinition } from "../store/define-lots.ts";
import { readMetric } from "./metrics.ts";
import { until } from "./until.ts";

export type Tier = "gateway" | "broadcast" | "archival";

const SECRET = "a secret for tests, of more than 32 bytes";
/** More often than the endpoints of a Service change in a cluster. */
const READINESS_CHECK_EVERY_MS = 50;

export const tokenOf = (sub: string, scope = "bid"): Promise<string> =>
  signToken(SECRET, { sub, scope, lifetimeSeconds: 3_600 });

export interface Member {
  readonly tier: Tier;
  readonly internalPort: number;
  readonly pid: number;
  start(): Promise<void>;
  /** Sends SIGTERM. @returns the exit code */
  terminate(): Promise<number | null>;
  metric(name: string, label?: string): Promise<number>;
}

export interface Fleet {
  readonly members: readonly Member[];
  /** The address of a load balancer, as the next one. */
  readonly gatewayUrl: string;
  readonly streamUrl: string;
}

interface FleetOptions {
  readonly redisUrl: string;
  readonly natsUrl: string;
  readonly postgresUrl: string;
  readonly definition: AuctionDefinition;
  readonly replicas: number;
  readonly env: NodeJS.ProcessEnv;
}

/** Starts all processes and opens the auction. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { definition, env } = options;
  const dir = mkdtempSync(join(tmpdir(), "gavel-fleet-"));
  afterFile(() => rmSync(dir, { recursive: true, force: true }));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const shared = {
    AUCTION_UID: definition.uid,
    HOST: "127.0.0.1",
    LOG_LEVEL: "error",
    REDIS_URL_FILE: file("redis-url", options.redisUrl),
    NATS_URL_FILE: file("nats-url", options.natsUrl),
    POSTGRES_URL_FILE: file("postgres-url", options.postgresUrl),
    RULES_FILE: file("rules.json", JSON.stringify(definition)),
    TOKEN_SECRET_FILE: file("token-secret", SECRET),
    ...env,
  };
  const archivalPort = await freePort();
  const all: { member: Member; port: number }[] = [];
  for (const tier of ["archival", "gateway", "broadcast"] as const) {
    for (let n = 0; n < options.replicas; n++) {
      const port = await freePort();
      const internalPort = tier === "archival" && n === 0 ? archivalPort : await freePort();
      const own = { ...shared, PORT: String(port), INTERNAL_PORT: String(internalPort) };
      const archival = { ARCHIVAL_URL: `http://127.0.0.1:${archivalPort}` };
      all.push({ member: memberOf(tier, internalPort, { ...own, ...archival }), port });
    }
  }
  const startTiers = (...tiers: Tier[]) =>
    Promise.all(
      all.filter(({ member }) => tiers.includes(member.tier)).map(({ member }) => member.start()),
    );
  await startTiers("archival");
  const admin = await tokenOf("owner", "admin");
  await until("the auction is open", async () => {
    const headers = { authorization: `Bearer ${admin}` };
    const url = `http://127.0.0.1:${archivalPort}/internal/v1/open`;
    return (await fetch(url, { method: "POST", headers })).ok;
  });
  // A broadcast process that starts before the auction exists answers "not set up yet" until its next check.
  await startTiers("gateway", "broadcast");
  const balance = (tier: Tier) => startBalancer(all.filter(({ member }) => member.tier === tier));
  const [gatewayPort, streamPort] = [await balance("gateway"), await balance("broadcast")];
  return {
    members: all.map(({ member }) => member),
    gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
    streamUrl: `ws://127.0.0.1:${streamPort}/v1/stream`,
  };
}

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));

function memberOf(tier: Tier, internalPort: number, env: NodeJS.ProcessEnv): Member {
  const main = fileURLToPath(new URL(`../${tier}/main.ts`, import.meta.url));
  const internalUrl = `http://127.0.0.1:${internalPort}`;
  let child: ChildProcess | null = null;
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    const ending = child;
    if (ending === null || ending.exitCode !== null) return ending?.exitCode ?? null;
    ending.kill(signal);
    await once(ending, "exit");
    running.delete(ending);
    return ending.exitCode;
  };
  afterFile(() => end("SIGKILL"));
  return {
    tier,
    internalPort,
    get pid() {
      return child?.pid ?? 0;
    },
    async start() {
      child = spawn(...endWithParent(process.execPath, [main]), {
        env: { ...process.env, ...env },
        stdio: ["ignore", "inherit", "inherit"],
      });
      running.add(child);
      const ready = async () => (await fetch(`${internalUrl}/readyz`)).ok;
      await until(`the ${tier} is ready`, ready);
    },
    terminate: () => end("SIGTERM"),
    metric: (name, label) => readMetric(internalUrl, name, label),
  };
}

interface Backend {
  readonly member: Pick<Member, "internalPort">;
  readonly port: number;
}

/** Sends connections in turn to the backends that were ready at the last check. @returns its port */
async function startBalancer(backends: readonly Backend[]): Promise<number> {
  const ready = new Set<Backend>(backends);
  const checkReadiness = async (one: Backend): Promise<void> => {
    const url = `http://127.0.0.1:${one.member.internalPort}/readyz`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
    if (answer?.ok) ready.add(one);
    else ready.delete(one);
    await answer?.body?.cancel();
  };
  const checks = backends.map((one) => {
    let over = false;
    const loop = async (): Promise<void> => {
      await checkReadiness(one);
      if (!over) setTimeout(loop, READINESS_CHECK_EVERY_MS);
    };
    void loop();
    return () => (over = true);
  });
  let turn = 0;
  const sockets = new Set<Socket>();
  const server = createServer((incoming) => {
    const there = [...ready];
    const to = there[turn++ % Math.max(1, there.length)];
    if (!to) return void incoming.resetAndDestroy();
    const outgoing = connect({ port: to.port, host: "127.0.0.1", noDelay: true });
    for (const [one, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy()).on("close", () => sockets.delete(one));
      one.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterFile(() => {
    for (const stop of checks) stop();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}
