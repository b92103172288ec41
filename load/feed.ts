/**
 * Compares two ways to feed events to broadcast: XREAD BLOCK on the outbox, and PUBLISH. Prints the rate and the
 * CPU time of Redis per event for 1, 4 and 16 readers.
 *
 *   node load/feed.ts [--events=5000]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePort } from "../servers/ports.ts";
import { startRedis } from "../servers/store-servers.ts";
import { connectStore, type Store } from "../services/store/connect.ts";
import { keysOf } from "../services/store/keys.ts";
import { readOutbox } from "../services/store/outbox.ts";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const { values } = parseArgs({ options: { events: { type: "string", default: "5000" } } });
const events = Number(values.events);
const text = "x".repeat(260);

const dir = mkdtempSync(join(tmpdir(), "gavel-feed-"));
const redis = await startRedis({ dir, port: await freePort() });
const open = async (): Promise<Store> => {
  const store = connectStore(redis.url, "gavel-feed", 10_000);
  await store.connect();
  return store;
};
const writer = await open();

/** CPU seconds that Redis has used. */
async function cpuSeconds(): Promise<number> {
  const info = await writer.info("cpu");
  const used = [...info.matchAll(/used_cpu_(?:sys|user):([\d.]+)/g)].map(([, s]) => Number(s));
  return used.reduce((sum, s) => sum + s, 0);
}

interface Feed {
  /** Resolves when every reader has received `count` events. */
  had(count: number): Promise<void>;
  write(): Promise<unknown>;
  close(): void;
}

async function xreadFeed(readers: number): Promise<Feed> {
  const keys = keysOf(`feed-${readers}`);
  const stores = await Promise.all(Array.from({ length: readers }, open));
  const follow = async (store: Store, count: number) => {
    let after = "0-0";
    for (let had = 0; had < count;) {
      const entries = await readOutbox(store, keys, after, { count: 100, blockMs: 1_000 });
      had += entries.length;
      after = entries.at(-1)?.id ?? after;
    }
  };
  return {
    had: async (count) => void (await Promise.all(stores.map((store) => follow(store, count)))),
    write: () => writer.xadd(keys.outbox, "*", "lotId", "lot-1", "events", text),
    close: () => stores.forEach((store) => store.disconnect()),
  };
}

async function publishFeed(readers: number): Promise<Feed> {
  const keys = keysOf(`publish-${readers}`);
  const stores = await Promise.all(Array.from({ length: readers }, open));
  for (const store of stores) await store.subscribe(keys.outbox);
  const follow = (store: Store, count: number) =>
    new Promise<void>((resolve) => {
      let had = 0;
      store.on("message", () => ++had === count && resolve());
    });
  return {
    had: async (count) => void (await Promise.all(stores.map((store) => follow(store, count)))),
    async write() {
      const pipeline = writer.multi();
      pipeline.xadd(keys.outbox, "*", "lotId", "lot-1", "events", text);
      pipeline.publish(keys.outbox, text);
      return pipeline.exec();
    },
    close: () => stores.forEach((store) => store.disconnect()),
  };
}

console.log("feed             readers   events/s   Redis µs an event");
for (const readers of [1, 4, 16]) {
  for (const [name, start] of [
    ["XREAD BLOCK", xreadFeed],
    ["XADD + PUBLISH", publishFeed],
  ] as const) {
    const feed = await start(readers);
    const had = feed.had(events);
    const [cpu, startedMs] = [await cpuSeconds(), performance.now()];
    // 8 concurrent writers, as from a few gateways.
    const lane = async () => {
      for (let i = 0; i < events / 8; i++) await feed.write();
    };
    await Promise.all([...Array.from({ length: 8 }, lane), had]);
    const rate = events / ((performance.now() - startedMs) / 1_000);
    const perEvent = (((await cpuSeconds()) - cpu) * 1e6) / events;
    console.log(
      `${name.padEnd(15)} ${String(readers).padStart(8)} ${rate.toFixed(0).padStart(10)} ${perEvent.toFixed(1).padStart(19)}`,
    );
    feed.close();
  }
}
writer.disconnect();
await redis.stop();
rmSync(dir, { recursive: true, force: true });
