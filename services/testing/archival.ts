/** One auction per test on the servers of the test file, its archival tier, and the checks of its archive. */
import { type ChildProcess, spawn } from "node:child_process";
import { endWithParent } from "../../servers/end-with-parent.ts";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished } from "vitest";
import { signToken } from "../access/tokens.ts";
import { LARGEST_MAX_JUMP } from "../lot/terms.ts";
import { readEnv } from "../runtime/env.ts";
import { createLog } from "../runtime/log.ts";
import { connectStore, type Store } from "../store/connect.ts";
import type { AuctionDefinition } from "../store/define-lots.ts";
import { type Keys, keysOf } from "../store/keys.ts";
import { openAuction, advanceDueLots } from "../store/lot-changes.ts";
import { readAuction } from "../store/lots.ts";
import { placeBids } from "../store/place-bids.ts";
import { PATIENCE_MS } from "./auction.ts";
import { startNats, startPostgres, startRedis, type TestServer } from "./servers.ts";
import { readMetric } from "./metrics.ts";
import { until } from "./until.ts";
import { type Archival, startArchival } from "../archival/app.ts";
import { ArchivalEnv } from "../archival/config.ts";
import type { ArchivalState } from "../archival/observe/state.ts";
import { type Archive, connectArchive } from "../archival/postgres/connection.ts";
import type { Timing } from "../archival/pipeline/timing.ts";

const SECRET = "a secret of at least thirty-two bytes";

/** Short times, so that tests wait little. */
export const IMPATIENT: Timing = {
  leaseMs: 1_200,
  stallMs: 1_500,
  streamGoneMs: 1_000,
  retainMs: 15 * 60_000,
  backoffMaxMs: 500,
  rulesEveryMs: 200,
};

interface Servers {
  readonly redis: TestServer;
  readonly nats: TestServer;
  readonly postgres: TestServer;
}

export async function startServers(): Promise<Servers> {
  const [redis, nats, postgres] = await Promise.all([startRedis(), startNats(), startPostgres()]);
  return { redis, nats, postgres };
}

export class AuctionUnderTest {
  readonly uid = randomUUID();
  readonly keys: Keys = keysOf(this.uid);
  readonly lotIds = ["lot-1", "lot-2", "lot-3"];
  readonly store: Store;
  readonly archive: Archive;
  readonly dir = mkdtempSync(join(tmpdir(), "gavel-archival-"));
  #amountMinor = 0;
  #running = new Set<Archival>();

  constructor({ redis, nats, postgres }: Servers) {
    this.store = connectStore(redis.url, "test", PATIENCE_MS);
    this.store.on("error", () => {});
    this.archive = connectArchive(
      () => postgres.url,
      () => {},
    );
    const files = {
      redis: redis.url,
      nats: nats.url,
      postgres: postgres.url,
      secret: SECRET,
      rules: JSON.stringify(this.definition()),
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.dir, name), text);
    onTestFinished(async () => {
      await Promise.all([...this.#running].map((archival) => archival.stop()));
      this.store.disconnect();
      await this.archive.end();
      rmSync(this.dir, { recursive: true });
    });
  }

  definition(): AuctionDefinition {
    return {
      uid: this.uid,
      generation: 0,
      name: "spring",
      title: "Spring sale",
      currency: "EUR",
      minorUnitDigits: 2,
      opensAtMs: null,
      rules: {
        increments: [{ fromMinor: 0, stepMinor: 1 }],
        antiSniping: { windowMs: 0, extensionMs: 0, maxExtensions: 0 },
        maxAmountMinor: 1_000_000_000_000,
        maxJump: LARGEST_MAX_JUMP, // Tests raise amounts as they like.
        reserveDisclosure: "MetOnly",
      },
      suspended: false,
      lots: this.lotIds.map((lotId) => ({
        lotId,
        title: lotId,
        startMinor: 1,
        reserveMinor: null,
        closesAtMs: null,
        lastsMs: 3_600_000,
        withdrawn: false,
      })),
    };
  }

  /** Writes the rules that the tier reads at its next start. */
  writeRules(definition: AuctionDefinition): void {
    writeFileSync(this.file("rules"), JSON.stringify(definition));
  }

  file(name: string): string {
    return join(this.dir, name);
  }

  async start(timing: Timing = IMPATIENT, more: NodeJS.ProcessEnv = {}): Promise<Archival> {
    const env = readEnv(ArchivalEnv, { ...this.#env(), ...more });
    const archival = await startArchival(env, createLog("archival", env.LOG_LEVEL), timing);
    this.#running.add(archival);
    return { ...archival, stop: () => this.#stop(archival) };
  }

  /** Starts the tier as a process, with its usual times: for a test that kills it. */
  spawn(more: NodeJS.ProcessEnv = {}): ChildProcess {
    const main = fileURLToPath(new URL("../archival/main.ts", import.meta.url));
    const words = endWithParent(process.execPath, [main]);
    const child = spawn(...words, { env: { ...this.#env(), ...more }, stdio: "ignore" });
    onTestFinished(() => void child.kill("SIGKILL"));
    return child;
  }

  #env(): NodeJS.ProcessEnv {
    return {
      AUCTION_UID: this.uid,
      REDIS_URL_FILE: this.file("redis"),
      NATS_URL_FILE: this.file("nats"),
      POSTGRES_URL_FILE: this.file("postgres"),
      RULES_FILE: this.file("rules"),
      TOKEN_SECRET_FILE: this.file("secret"),
      HOST: "127.0.0.1",
      INTERNAL_PORT: "0",
      LOG_LEVEL: "silent",
    };
  }

  async #stop(archival: Archival): Promise<void> {
    this.#running.delete(archival);
    await archival.stop();
  }

  /** Opens the auction, once the tier has defined it. */
  async open(): Promise<void> {
    await this.connected();
    await until("the auction is defined", () => readAuction(this.store, this.keys));
    await openAuction(this.store, this.keys, this.lotIds);
    await this.passTime();
  }

  async passTime(): Promise<void> {
    await advanceDueLots(this.store, this.keys);
  }

  async connected(): Promise<void> {
    if (this.store.status === "wait") await this.store.connect();
  }

  /** Places bids that are accepted, `each` in one call, on the lots in turn. @returns their ids */
  async bid(calls: number, each = 3): Promise<string[]> {
    const placed: string[] = [];
    for (let call = 0; call < calls; call++) {
      const lotId = this.lotIds[call % this.lotIds.length]!;
      const bids = Array.from({ length: each }, () => ({
        bidId: randomUUID(),
        bidderId: `bidder "${call % 7}" ü`,
        key: randomUUID(),
        amountMinor: (this.#amountMinor += 10),
      }));
      const never = { epoch: 0, seq: 0 };
      const in10s = Date.now() + 10_000;
      const { placements } = await until("the store is confirmed", async () => {
        const batch = await placeBids(this.store, this.keys, lotId, bids, never, in10s);
        const [first] = batch.placements;
        return first?.outcome === "unavailable" && first.why === "unconfirmed" ? null : batch;
      });
      expect(placements.map(({ outcome }) => outcome)).toEqual(bids.map(() => "accepted"));
      placed.push(...bids.map(({ bidId }) => bidId));
    }
    return placed;
  }

  /** Deletes all that Redis has of the auction, as if its volume were lost. */
  async wipe(): Promise<void> {
    await this.store.del(...(await this.store.keys(`*${this.uid}*`)));
  }

  /** All events of all lots, from the streams of the lots: they keep more events than these tests write. */
  async decided(): Promise<string[]> {
    const texts: string[] = [];
    for (const lotId of this.lotIds) {
      const entries = await this.store.xrange(this.keys.lot(lotId).events, "-", "+");
      texts.push(...entries.flatMap(([, fields]) => fields[1]!.split("\n")));
    }
    return texts;
  }

  /** Puts an entry into the outbox that no script of ours writes. */
  async smuggle(lotId: string, events: string | Buffer): Promise<string> {
    const id = await this.store.xadd(this.keys.outbox, "*", "lotId", lotId, "events", events);
    return id!;
  }

  async archived(): Promise<string[]> {
    return this.column(
      "select body from public.events where auction_uid = $1 order by lot_id, epoch, seq",
    );
  }

  async column(sql: string, ...values: unknown[]): Promise<string[]> {
    const { rows } = await this.archive.query<string[]>({
      text: sql,
      values: [this.uid, ...values],
      rowMode: "array",
    });
    return rows.map(([value]) => (value === null ? value : String(value)));
  }

  /** Waits until everything is archived, then checks that each event is there once, in order, as decided. */
  async expectAllArchived(deadLetters: string[] = [], timeoutMs = 15_000): Promise<void> {
    const decided = await this.decided();
    await until(
      "everything is archived",
      async () => {
        const sql = "select count(*) from public.events where auction_uid = $1";
        const [archived] = await this.column(sql);
        return Number(archived) >= decided.length;
      },
      timeoutMs,
    );
    expect(await this.archived()).toEqual(decided);
    const bids = decided.filter((text) => text.includes('"bid_accepted"')).length;
    expect(await this.column("select count(*) from public.bids where auction_uid = $1")).toEqual([
      String(bids),
    ]);
    expect(
      await this.column("select sum(bid_count) from public.lots where auction_uid = $1"),
    ).toEqual([String(bids)]);
    expect(
      await this.column("select reason from public.dead_letters where auction_uid = $1 order by 1"),
    ).toEqual(deadLetters);
    await until("Redis knows", async () => {
      return (await readAuction(this.store, this.keys))?.pendingBytes === 0;
    });
  }

  async token(scope: string): Promise<string> {
    return signToken(SECRET, { sub: "owner", scope, lifetimeSeconds: 60 });
  }
}

/** An open auction whose first bids are archived, and its tier at work. @param calls as of `bid()` */
export async function startAtWork(
  servers: Servers,
  calls = 30,
  timing: Timing = IMPATIENT,
): Promise<{ auction: AuctionUnderTest; archival: Archival }> {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start(timing);
  await auction.open();
  await auction.bid(calls);
  await auction.expectAllArchived();
  return { auction, archival };
}

export async function stateOf({ internalUrl }: Archival): Promise<ArchivalState> {
  const response = await fetch(`${internalUrl}/internal/v1/state`);
  return (await response.json()) as ArchivalState;
}

/** Calls the internal routes of archival. @param readToken is called for each call: a token of a test ends soon */
export function callerOf({ internalUrl }: Archival, readToken: () => string | Promise<string>) {
  return async (method: "GET" | "POST", path: string, body?: unknown) => {
    const response = await fetch(`${internalUrl}/internal/v1/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await readToken()}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, any> };
  };
}

export const untilRestored = (archival: Archival, times = 1): Promise<boolean> =>
  until("the store is restored", async () => {
    return (await metric(archival, "gavel_archival_restores_total")) === times;
  });

export const metric = (archival: Archival, name: string, label?: string): Promise<number> =>
  readMetric(archival.internalUrl, name, label);
