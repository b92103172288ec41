/** Broadcast tiers for one test file, inside the process of the test, on free ports. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterFile } from "./after-file.ts";
import { signToken } from "../access/tokens.ts";
import { readEnv } from "../runtime/env.ts";
import { createLog } from "../runtime/log.ts";
import { type Broadcast, startBroadcast } from "../broadcast/app.ts";
import { BroadcastEnv } from "../broadcast/config.ts";

const SECRET = "a secret of at least thirty-two bytes";

export const tokenOf = (sub: string, lifetimeSeconds = 600, scope = "bid"): Promise<string> =>
  signToken(SECRET, { sub, scope, lifetimeSeconds });

/** Starts one; it stops after the file at the latest. */
export async function startOne(
  redisUrl: string,
  auctionUid: string,
  changes: Record<string, string> = {},
): Promise<Broadcast> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-broadcast-"));
  writeFileSync(join(dir, "redis"), redisUrl);
  writeFileSync(join(dir, "token"), SECRET);
  const env = readEnv(BroadcastEnv, {
    AUCTION_UID: auctionUid,
    REDIS_URL_FILE: join(dir, "redis"),
    TOKEN_SECRET_FILE: join(dir, "token"),
    HOST: "127.0.0.1",
    PORT: "0",
    INTERNAL_PORT: "0",
    DRAIN_MS: "400",
    LOG_LEVEL: "silent",
    MESSAGES_PER_SECOND: "1000",
    ...changes,
  });
  const broadcast = await startBroadcast(env, createLog("broadcast", env.LOG_LEVEL));
  afterFile(async () => {
    await broadcast.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  return broadcast;
}
