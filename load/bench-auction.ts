/** The auction of a benchmark: one Redis, one open auction with one lot, and tokens for its bidders. */
import { randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../servers/ports.ts";
import { startRedis } from "../servers/store-servers.ts";
import { signToken } from "../services/access/tokens.ts";
import { connectStore, type Store } from "../services/store/connect.ts";
import { type AuctionDefinition, defineLots } from "../services/store/define-lots.ts";
import { keysOf } from "../services/store/keys.ts";
import { openAuction } from "../services/store/lot-changes.ts";
import { maxKeysBytesFor } from "../services/store/memory-budget.ts";
import { trimOutbox, outboxTail } from "../services/store/outbox.ts";
import { CLIENT_CORE, pin } from "./pinned.ts";

export const LOT_ID = "lot-1";

export interface BenchAuction {
  readonly store: Store;
  readonly uid: string;
  readonly redisPid: number;
  /** The environment of a tier, without its ports. */
  readonly env: NodeJS.ProcessEnv;
  token(bidderId: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startBenchAuction(): Promise<BenchAuction> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-bench-"));
  const redis = await startRedis({ dir: join(dir, "redis"), port: await freePort() });
  await pin(redis.pid, CLIENT_CORE);
  const store = connectStore(redis.url, "gavel-bench", 30_000);
  await store.connect();
  const uid = randomUUID();
  const keys = keysOf(uid);
  const limits = { maxPendingBytes: 1024 ** 3, maxKeysBytes: maxKeysBytesFor(20_000) };
  await defineLots(store, keys, benchDefinition(uid, [LOT_ID]), limits);
  await openAuction(store, keys, [LOT_ID]);
  // There is no archival: trim the outbox as its watermark would allow.
  const trimming = setInterval(() => {
    void outboxTail(store, keys).then((tail) => trimOutbox(store, keys, tail, tail));
  }, 500);

  const secret = randomBytes(32).toString("hex");
  writeFileSync(join(dir, "redis-url"), redis.url);
  writeFileSync(join(dir, "token-secret"), secret);
  const env = {
    AUCTION_UID: uid,
    REDIS_URL_FILE: join(dir, "redis-url"),
    TOKEN_SECRET_FILE: join(dir, "token-secret"),
    HOST: "127.0.0.1",
    LOG_LEVEL: "error",
  };
  return {
    store,
    uid,
    redisPid: redis.pid,
    env,
    token: (sub) => {
      const claims = { issuer: "gavel", audience: "gavel", lifetimeSeconds: 3_600 };
      return signToken(secret, { sub, scope: "bid", ...claims });
    },
    async stop() {
      clearInterval(trimming);
      store.disconnect();
      await redis.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Rules that refuse no higher amount: clients derive their amounts from the clock. */
export function benchDefinition(uid: string, lotIds: readonly string[]): AuctionDefinition {
  return {
    uid,
    generation: 0,
    name: "bench",
    title: "Bench",
    currency: "EUR",
    minorUnitDigits: 2,
    opensAtMs: null,
    suspended: false,
    rules: {
      increments: [{ fromMinor: 0, stepMinor: 1 }],
      antiSniping: { windowMs: 0, extensionMs: 0, maxExtensions: 0 },
      maxAmountMinor: Number.MAX_SAFE_INTEGER,
      maxJump: null,
      reserveDisclosure: "MetOnly",
    },
    lots: lotIds.map((lotId) => ({
      lotId,
      title: lotId,
      startMinor: 1_000,
      reserveMinor: null,
      closesAtMs: null,
      lastsMs: 3_600_000,
      withdrawn: false,
    })),
  };
}
