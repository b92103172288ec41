/**
 * Fills a Redis of the default size (200 lots, 256 MiB of events, keys for 1,000 accepted bids a second) and prints what
 * each part takes, beside its budget: `node load/fill-default-redis.ts`. It takes minutes and 2 GB of memory.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../servers/ports.ts";
import { startRedis } from "../servers/store-servers.ts";
import { connectStore } from "../services/store/connect.ts";
import {
  DEFAULT_ACCEPTED_PER_SECOND,
  DEFAULT_OUTBOX_MAX_BYTES,
  maxKeysBytesFor,
} from "../services/store/memory-budget.ts";
import { fillRedis } from "./fill-redis.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-fill-"));
const redis = await startRedis({ dir: join(dir, "redis"), port: await freePort() });
const store = connectStore(redis.url, "gavel-fill", 60_000);
try {
  await store.connect();
  const { parts, accepted, bytesPerKey, usedBytes, maxMemoryBytes } = await fillRedis(store, {
    lots: 200,
    maxPendingBytes: DEFAULT_OUTBOX_MAX_BYTES,
    maxKeysBytes: maxKeysBytesFor(DEFAULT_ACCEPTED_PER_SECOND),
  });
  console.table(parts);
  console.log(`${accepted} bids accepted, then full; ${Math.round(bytesPerKey)} bytes a key`);
  console.log(`Redis uses ${usedBytes} of maxmemory ${maxMemoryBytes}`);
  process.exitCode = usedBytes < maxMemoryBytes ? 0 : 1;
} finally {
  store.disconnect();
  await redis.stop();
  rmSync(dir, { recursive: true, force: true });
}
