/**
 * The tiers at their most talkative, with secrets that are easy to recognise, through what goes wrong in a
 * sale: nothing of a secret or a token, good or bad, may be in what they write.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { freePort } from "../../servers/ports.ts";
import { signToken } from "../access/tokens.ts";
import { afterFile } from "../testing/after-file.ts";
import { auctionDefinition } from "../testing/auction.ts";
import { startNats, startPostgres, startRedis } from "../testing/servers.ts";
import { until } from "../testing/until.ts";
import { connectViewer } from "../testing/viewer.ts";

const mark = (what: string) => `marked-${what}-${randomUUID()}`;
const SECRETS = {
  redis: mark("redis"),
  oldRedis: mark("old-redis"),
  nats: mark("nats"),
  postgres: mark("postgres"),
  collector: mark("collector"),
  signing: mark("signing"),
  operator: mark("operator"),
};
/** Whatever was sent as a token, by the bit of it that nothing else would hold. */
const tokens: string[] = [];

const [redis, nats, postgres] = [await startRedis(), await startNats(), await startPostgres()];
const dir = mkdtempSync(join(tmpdir(), "gavel-secrets-"));
afterFile(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, text: string): string {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
}

function withPassword(url: string, password: string, user = ""): string {
  const parsed = new URL(url);
  parsed.password = password;
  if (user !== "") parsed.username = user;
  return parsed.href;
}

const lines: string[] = [];
const definition = auctionDefinition();

function start(tier: string, internalPort: number, env: NodeJS.ProcessEnv): ChildProcess {
  const main = fileURLToPath(new URL(`../${tier}/main.ts`, import.meta.url));
  const child = spawn(process.execPath, [main], {
    env: {
      ...process.env,
      AUCTION_UID: definition.uid,
      REDIS_URL_FILE: join(dir, "redis"),
      TOKEN_SECRET_FILE: join(dir, "signing"),
      HOST: "127.0.0.1",
      LOG_LEVEL: "trace",
      INTERNAL_PORT: String(internalPort),
      // Nobody listens there: each attempt to send spans fails, and is told.
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://gavel:${SECRETS.collector}@127.0.0.1:1`,
      OTEL_EXPORTER_OTLP_TIMEOUT: "500",
      OTEL_EXPORTER_OTLP_HEADERS: `authorization=Basic ${SECRETS.collector}`,
      OTEL_TRACES_SAMPLER_ARG: "1",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const output of [child.stdout!, child.stderr!]) {
    let rest = "";
    output.setEncoding("utf8").on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop()!;
      lines.push(...parts);
    });
  }
  afterFile(() => void child.kill("SIGKILL"));
  return child;
}

const written = (message: string) => lines.some((line) => line.includes(message));

test("no secret and no token is ever in a log, whatever goes wrong", async () => {
  file("signing", SECRETS.signing);
  file("operator", SECRETS.operator);
  const setUp = new Redis(redis.url);
  await setUp.config("SET", "requirepass", SECRETS.redis);
  setUp.disconnect();
  // Not the password any more: ioredis hangs the command that was refused on its error.
  file("redis", withPassword(redis.url, SECRETS.oldRedis));
  file("nats", withPassword(nats.url, SECRETS.nats, "gavel"));
  // A server that is not there.
  file("postgres", withPassword("postgres://127.0.0.1:1/gavel", SECRETS.postgres, "gavel"));
  file("rules.json", JSON.stringify(definition));
  const [port, streamPort] = [await freePort(), await freePort()];
  const internal = [await freePort(), await freePort(), await freePort()] as const;
  start("gateway", internal[0], { PORT: String(port) });
  start("broadcast", internal[1], { PORT: String(streamPort) });
  start("archival", internal[2], {
    NATS_URL_FILE: join(dir, "nats"),
    POSTGRES_URL_FILE: join(dir, "postgres"),
    RULES_FILE: join(dir, "rules.json"),
    OPERATOR_TOKEN_FILE: join(dir, "operator"),
  });
  const gateway = `http://127.0.0.1:${port}`;
  await until("the gateway listens", () => fetch(`${gateway}/openapi.json`));
  await until("Redis refused them", () => written("store connection lost"));
  await until("archival waits for Postgres", () => written("step failed: retrying"));

  const good = await tokenOf(SECRETS.signing);
  const foreign = await tokenOf("another secret of more than thirty-two bytes");
  const bad = [good, foreign, `${good.slice(0, -3)}xyz`, good.slice(0, 40), mark("no-token")];
  tokens.push(...bad);
  const bid = (authorization: string) =>
    fetch(`${gateway}/v1/lots/lot-1/bids?token=${good}`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json", "idempotency-key": "k" },
      body: '{"amountMinor":5000}',
    });
  for (const token of bad) await bid(`Bearer ${token}`);
  await bid(`Basic ${Buffer.from(`ada:${SECRETS.signing}`).toString("base64")}`);
  const viewer = await until("broadcast listens", () =>
    connectViewer(`ws://127.0.0.1:${streamPort}/v1/stream`),
  );
  for (const token of bad) viewer.send({ type: "authenticate", token });
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 5_000, key: "k" });
  await viewer.next("bid_result");
  viewer.close();
  for (const token of [...bad, SECRETS.operator, `${SECRETS.operator}x`]) {
    const headers = { authorization: `Bearer ${token}` };
    await fetch(`http://127.0.0.1:${internal[2]}/internal/v1/open`, { method: "POST", headers });
  }

  // And once more with stores that are there, so that all of it is at work, and then breaks.
  file("redis", withPassword(redis.url, SECRETS.redis));
  file("postgres", withPassword(postgres.url, SECRETS.postgres, "nobody"));
  await until("Postgres refused them", () => written("nobody"));
  file("postgres", postgres.url);
  const open = async () => {
    const headers = { authorization: `Bearer ${SECRETS.operator}` };
    const url = `http://127.0.0.1:${internal[2]}/internal/v1/open`;
    return (await fetch(url, { method: "POST", headers })).ok;
  };
  await until("the auction is open", open);
  await until("a bid is taken", async () => (await bid(`Bearer ${good}`)).status === 201);
  await nats.kill();
  await redis.kill();
  await until("a bid is not", async () => (await bid(`Bearer ${good}`)).status === 503);
  await until("spans were not sent", () => written("span export failed"));

  expect(lines.length).toBeGreaterThan(30);
  for (const line of lines) expect(() => JSON.parse(line), line).not.toThrow();
  const secret = [...Object.values(SECRETS), ...tokens.map((token) => token.slice(0, 36))];
  const encoded = Object.values(SECRETS).map((text) => Buffer.from(text).toString("base64url"));
  for (const text of [...secret, ...encoded.map((text) => text.slice(4, -4)), ...signatures()]) {
    expect(lines.filter((line) => line.includes(text))).toEqual([]);
  }
  // A decided bid's line leads to its trace and its row.
  const rejected = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const failed = rejected.find(({ msg }) => msg === "bid not decided");
  expect(failed).toMatchObject({ lotId: "lot-1", level: "warn" });
  for (const field of ["bidId", "trace_id", "span_id"]) expect(failed).toHaveProperty(field);
});

/** The last part of a token is what makes it one. */
function signatures(): string[] {
  return tokens.flatMap((token) => token.split(".")[2]?.slice(0, 20) ?? []);
}

function tokenOf(secret: string): Promise<string> {
  const claims = { issuer: "gavel", audience: "gavel", lifetimeSeconds: 3_600 };
  return signToken(secret, { sub: "ada", scope: "bid", ...claims });
}
