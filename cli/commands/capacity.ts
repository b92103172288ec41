/** `gavel capacity`: the memory budget of Redis, from an Auction file, from options, or of a running Redis. */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { capacityOf } from "../../operator/desired/capacity.ts";
import { readAuctionFile } from "../../operator/local/auction-file.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { connectStore, type Store } from "../../services/store/connect.ts";
import { keysOf } from "../../services/store/keys.ts";
import { readAuction } from "../../services/store/lots.ts";
import {
  type Capacity,
  DEFAULT_ACCEPTED_PER_SECOND,
  DEFAULT_OUTBOX_MAX_BYTES,
  maxKeysBytesFor,
  memoryBudgetOf,
  memoryShortage,
} from "../../services/store/memory-budget.ts";
import { readRedisHealth } from "../../services/store/redis-health.ts";
import type { Invocation } from "../command.ts";
import { tableOf } from "../output/table.ts";

export const CAPACITY_HELP = `usage: gavel capacity [auction.yaml]
       gavel capacity [--lots N] [--outbox BYTES] [--rate N]
       gavel capacity --running

  print the memory budget: the memory that Redis needs for an auction, part by part

  auction.yaml     the Auction
  --lots N         lots; default 200
  --outbox BYTES   tiers.archival.outboxMaxBytes; default ${DEFAULT_OUTBOX_MAX_BYTES}
  --rate N         tiers.archival.acceptedPerSecond; default ${DEFAULT_ACCEPTED_PER_SECOND}
  --running        the auction of make up, compared with its Redis: maxmemory and used memory

exit codes
  0  printed; with --running: Redis has enough
  1  --running: Redis has less than it needs; the last line says what to change
  2  the command line or the Auction is wrong
  3  --running: nothing runs, or Redis does not answer
`;

const COMMAND_TIMEOUT_MS = 3_000;

export async function capacity({ args, folder, terminal }: Invocation): Promise<number> {
  let asked: Capacity | "running";
  try {
    asked = parseCapacity(args);
  } catch (error) {
    process.stderr.write(`gavel: ${(error as Error).message}\n\n${CAPACITY_HELP}`);
    return 2;
  }
  if (asked !== "running") {
    terminal.say(budgetText(asked));
    return 0;
  }
  const rules = folder.readRules();
  if (rules === null || !existsSync(folder.urlFile("redis"))) {
    terminal.say(`nothing runs from ${folder.path}; start it with make up`);
    return 3;
  }
  const url = readSecretFile(folder.urlFile("redis"));
  const store = connectStore(url, "gavel-capacity", COMMAND_TIMEOUT_MS);
  store.on("error", () => {}); // The commands report it.
  try {
    await store.connect();
    const { text, isEnough } = await compareRunning(store, rules.uid);
    terminal.say(text);
    return isEnough ? 0 : 1;
  } catch (error) {
    terminal.say(`Redis does not answer: ${(error as Error).message}`);
    return 3;
  } finally {
    store.disconnect();
  }
}

/** @throws Error when the arguments, or the Auction that they name, are not valid */
function parseCapacity(args: readonly string[]): Capacity | "running" {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      lots: { type: "string", default: "200" },
      outbox: { type: "string", default: String(DEFAULT_OUTBOX_MAX_BYTES) },
      rate: { type: "string", default: String(DEFAULT_ACCEPTED_PER_SECOND) },
      running: { type: "boolean", default: false },
    },
  });
  if (values.running) return "running";
  const [file, second] = positionals;
  if (second !== undefined) throw new Error(`unexpected argument ${second}`);
  if (file === undefined) {
    return {
      lots: countOf("--lots", values.lots),
      maxPendingBytes: countOf("--outbox", values.outbox),
      maxKeysBytes: maxKeysBytesFor(countOf("--rate", values.rate)),
    };
  }
  const read = readAuctionFile(file);
  if (read.ok) return capacityOf(read.auction.spec);
  throw new Error(
    read.problems.map(({ path, message }) => `${file}: ${path} ${message}`).join("\n"),
  );
}

function countOf(name: string, text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new Error(`${name} must be a positive integer, is ${text}`);
}

function budgetText(asked: Capacity): string {
  const { parts, maxMemoryBytes, processBytes } = memoryBudgetOf(asked);
  const rows = parts.map(({ name, bytes, because }) => [name, bytes, because]);
  return [
    tableOf(["part", "bytes", "because"], rows),
    "",
    `maxmemory         ${maxMemoryBytes}`,
    `limit of the pod  ${processBytes} (a fork for the append-only file, and buffers)`,
  ].join("\n");
}

/** @throws when Redis does not answer */
async function compareRunning(
  store: Store,
  uid: string,
): Promise<{ text: string; isEnough: boolean }> {
  const auction = await readAuction(store, keysOf(uid));
  const health = await readRedisHealth(store);
  if (auction === null || health === null) {
    return { text: "Redis has no auction, or refuses INFO", isEnough: false };
  }
  const { lotIds, maxPendingBytes, maxKeysBytes, pendingBytes, keysBytes } = auction;
  const asked = { lots: lotIds.length, maxPendingBytes, maxKeysBytes };
  const shortage = memoryShortage(asked, health.maxBytes);
  const lines = [
    budgetText(asked),
    "",
    `events that are not archived  ${pendingBytes} of ${maxPendingBytes} bytes`,
    `idempotency keys, this window ${keysBytes} of ${maxKeysBytes} bytes`,
    `Redis uses                    ${health.usedBytes} bytes; its maxmemory is ${health.maxBytes}`,
    shortage ?? "Redis has enough memory",
  ];
  return { text: lines.join("\n"), isEnough: shortage === null };
}
