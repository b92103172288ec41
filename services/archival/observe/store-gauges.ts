/**
 * Gauges of the auction as a whole, and of its stores: what takes a question to each of them, and is asked
 * less often than what Redis tells by the way.
 */
import type { QueryConfig } from "pg";
import { Counter, Gauge, type Registry } from "prom-client";
import { streamState, type StreamState } from "../../bus/stream.ts";
import type { Lot, LotStatus } from "../../lot/lot.ts";
import { pause } from "../../runtime/lifecycle.ts";
import { readDurability, type StoreDurability } from "../../store/durability.ts";
import { readAuction, readLots } from "../../store/lots.ts";
import { readRedisHealth, type RedisHealth } from "../../store/redis-health.ts";
import type { StateOf } from "./state.ts";

const EVERY_MS = 2_000;
const ANSWER_MS = 1_000;

const STATUSES: readonly LotStatus[] = ["scheduled", "open", "closed", "withdrawn"];
const KEEPS: readonly StoreDurability["keeps"][] = ["yes", "no", "unknown"];
const CONNECTIONS = ["busy", "idle", "waiting"] as const;

export type WellBeing = ReturnType<typeof createWellBeing>;

/** Their series; what is not known yet, or only the process that holds the lease knows, is 0. */
export function createWellBeing(registry: Registry) {
  const registers = [registry];
  const gauge = <T extends string = never>(name: string, help: string, ...labelNames: T[]) =>
    new Gauge({ name: `gavel_archival_${name}`, help, labelNames, registers });
  const counter = (name: string, help: string) =>
    new Counter({ name: `gavel_archival_${name}`, help, registers });
  const metrics = {
    leadingMinor: gauge(
      "leading_amounts_minor",
      "Sum of the leading amounts of all lots, in minor units of the auction's currency.",
    ),
    acceptedBids: gauge("accepted_bids", "Accepted bids of all lots, by the store."),
    lots: gauge("lots", "Lots by status.", "status"),
    unarchivedEvents: gauge(
      "unarchived_events",
      "Events that the store has and Postgres has not committed.",
    ),
    deadLetters: gauge("dead_letters_waiting", "Dead letters that were not replayed."),
    durability: gauge(
      "store_durability",
      "1 for whether Redis keeps what it acknowledged, by its settings: yes, no or unknown.",
      "keeps",
    ),
    redisBytes: gauge("redis_memory_bytes", "Memory that Redis uses."),
    redisMaxBytes: gauge("redis_memory_max_bytes", "Memory that Redis may use; 0 is no limit."),
    redisClients: gauge("redis_clients", "Connections that Redis has."),
    redisWritesWell: gauge(
      "redis_writes_well",
      "1 while Redis's writes to its append-only file succeed.",
    ),
    scriptCalls: counter("redis_script_calls_total", "Script calls that Redis has run."),
    scriptSeconds: counter("redis_script_seconds_total", "Time that Redis spent in scripts."),
    streamBytes: gauge("stream_bytes", "Size of the JetStream stream."),
    streamMaxBytes: gauge("stream_max_bytes", "Size at which JetStream refuses more."),
    streamMessages: gauge("stream_messages", "Messages on the JetStream stream."),
    connections: gauge(
      "postgres_connections",
      "Connections to Postgres: busy, idle, and work waiting for one.",
      "state",
    ),
  };
  for (const status of STATUSES) metrics.lots.set({ status }, 0);
  for (const keeps of KEEPS) metrics.durability.set({ keeps }, keeps === "unknown" ? 1 : 0);
  for (const state of CONNECTIONS) metrics.connections.set({ state }, 0);
  return metrics;
}

/** Asks until the signal aborts. What does not answer keeps its last figures. */
export async function keepLooking(
  of: StateOf,
  metrics: WellBeing,
  signal: AbortSignal,
): Promise<void> {
  // The archive's last word stands while it is away: nothing is archived then.
  let archivedEvents = 0;
  const lookAtArchive = async () => {
    const { events, deadLetters } = await askArchive(of);
    archivedEvents = events;
    metrics.deadLetters.set(deadLetters);
  };
  while (!signal.aborted) {
    showConnections(of, metrics);
    await Promise.allSettled([lookAtRedis(of, metrics), lookAtStream(of, metrics)]);
    await lookAtArchive().catch(() => {});
    await lookAtLots(of, metrics, archivedEvents).catch(() => {});
    await pause(EVERY_MS, signal);
  }
}

async function lookAtRedis({ store }: StateOf, metrics: WellBeing): Promise<void> {
  const { keeps } = await readDurability(store);
  for (const one of KEEPS) metrics.durability.set({ keeps: one }, one === keeps ? 1 : 0);
  const health: RedisHealth | null = await readRedisHealth(store);
  if (health === null) return;
  metrics.redisBytes.set(health.usedBytes);
  metrics.redisMaxBytes.set(health.maxBytes);
  metrics.redisClients.set(health.clients);
  metrics.redisWritesWell.set(health.writesWell ? 1 : 0);
  // A Redis that started anew counts from 0, as a counter may.
  become(metrics.scriptCalls, health.scriptCalls);
  become(metrics.scriptSeconds, health.scriptSeconds);
}

function become(counter: Counter, value: number): void {
  counter.reset();
  counter.inc(value);
}

async function lookAtStream({ of, bus }: StateOf, metrics: WellBeing): Promise<void> {
  const connected = bus();
  if (connected === null) return;
  const state: StreamState | null = await streamState(connected, of.auctionUid);
  metrics.streamBytes.set(state?.bytes ?? 0);
  metrics.streamMaxBytes.set(state?.maxBytes ?? 0);
  metrics.streamMessages.set(state?.messages ?? 0);
}

function showConnections({ archive }: StateOf, { connections }: WellBeing): void {
  const { totalCount, idleCount, waitingCount } = archive;
  connections.set({ state: "busy" }, totalCount - idleCount);
  connections.set({ state: "idle" }, idleCount);
  connections.set({ state: "waiting" }, waitingCount);
}

async function askArchive({ of, archive }: StateOf) {
  const { rows } = await archive.query<{ events: string; dead_letters: string }>({
    text: `
      select (select coalesce(sum(seq), 0) from lots where auction_uid = $1) as events,
        (select count(*) from dead_letters
         where auction_uid = $1 and replayed_at is null) as dead_letters`,
    values: [of.auctionUid],
    query_timeout: ANSWER_MS,
  } as QueryConfig);
  return { events: Number(rows[0]!.events), deadLetters: Number(rows[0]!.dead_letters) };
}

/** Of the whole auction, so one process tells: who sums over processes counts it once. */
async function lookAtLots(of: StateOf, metrics: WellBeing, archivedEvents: number): Promise<void> {
  const { store, keys, standing } = of;
  const auction = standing.progress === null ? null : await readAuction(store, keys);
  const stored = auction === null ? [] : await readLots(store, keys, auction, auction.lotIds);
  const lots = stored.filter((lot) => lot !== null);
  const sum = (figure: (lot: Lot) => number) => lots.reduce((all, lot) => all + figure(lot), 0);
  metrics.leadingMinor.set(sum(({ leadingBid }) => leadingBid?.amountMinor ?? 0));
  metrics.acceptedBids.set(sum(({ bidCount }) => bidCount));
  metrics.unarchivedEvents.set(Math.max(0, sum(({ seq }) => seq) - archivedEvents));
  for (const status of STATUSES) {
    metrics.lots.set({ status }, lots.filter((lot) => lot.status === status).length);
  }
}
