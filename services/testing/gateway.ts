/** A listening gateway of one auction on a real Redis, and tokens that it accepts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterFile } from "./after-file.ts";
import { signToken, type TokenClaims } from "../access/tokens.ts";
import { type Gateway, startGateway } from "../gateway/app.ts";
import { GatewayEnv } from "../gateway/config.ts";
import { readEnv } from "../runtime/env.ts";
import { createLog } from "../runtime/log.ts";
import { until } from "./until.ts";

export const SECRET = "a secret for tests, and for nothing else";

export interface TestGateway extends Gateway {
  /** Places a bid; by default with a new key and as bidder "ada". */
  bid(lotId: string, amountMinor: number, changes?: BidChanges): Promise<Answer>;
  get(path: string): Promise<Answer>;
}

interface BidChanges {
  readonly key?: string;
  readonly token?: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, parsed as JSON. */
  readonly body: Record<string, any>;
}

export function tokenOf(sub: string, claims: Partial<TokenClaims> = {}): Promise<string> {
  return signToken(SECRET, { sub, lifetimeSeconds: 600, ...claims });
}

/** Starts it and waits until it is ready; stopped after the test file. */
export async function startTestGateway(
  redisUrl: string,
  auctionUid: string,
  changes: NodeJS.ProcessEnv = {},
): Promise<TestGateway> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-gateway-"));
  const file = (name: string, text: string) => {
    writeFileSync(join(dir, name), text, { mode: 0o600 });
    return join(dir, name);
  };
  const env = readEnv(GatewayEnv, {
    AUCTION_UID: auctionUid,
    REDIS_URL_FILE: file("redis-url", redisUrl),
    ...(changes["TOKEN_JWKS_URL"] ? {} : { TOKEN_SECRET_FILE: file("secret", SECRET) }),
    HOST: "127.0.0.1",
    PORT: "0",
    INTERNAL_PORT: "0",
    LOG_LEVEL: "silent",
    ...changes,
  });
  const gateway = await startGateway(env, createLog("gateway", env.LOG_LEVEL));
  afterFile(async () => {
    await gateway.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const { url, internalUrl } = gateway;
  await until("the gateway is ready", async () => (await fetch(`${internalUrl}/readyz`)).ok);

  const ada = await tokenOf("ada");
  let keys = 0;
  return {
    ...gateway,
    get: async (path) => read(await fetch(url + path)),
    bid: async (lotId, amountMinor, { key = `test-key-${++keys}`, token = ada } = {}) =>
      read(
        await fetch(`${url}/v1/lots/${lotId}/bids`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            authorization: `Bearer ${token}`,
            "idempotency-key": key,
          },
          body: JSON.stringify({ amountMinor }),
        }),
      ),
  };
}

async function read(response: Response): Promise<Answer> {
  const text = await response.text();
  const { status, headers } = response;
  const isJson = headers.get("content-type")?.includes("json") ?? false;
  return { status, headers, text, body: isJson ? JSON.parse(text) : {} };
}
