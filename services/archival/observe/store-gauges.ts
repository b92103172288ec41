/** Store gauges: the auction as a whole, and the health of its stores. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Lot, LotStatus } from "../../lot/lot.ts";
import type { StoreDurability } from "../../store/store-settings.ts";
import type { Archive } from "../postgres/connection.ts";
import type { ArchiveObservation, Observation, StoreObservation } from "./observation.ts";

const STATUSES: readonly LotStatus[] = ["scheduled", "open", "closed", "withdrawn"];
const KEEPS: readonly StoreDurability["keeps"][] = ["yes", "no", "unknown"];
const CONNECTIONS = ["busy", "idle", "waiting"] as const;

type StoreGauges = ReturnType<typeof createStoreGauges>;

/** Each series begins with 0. Those of the whole auction stay 0 in a process that does not run the pipeline. */
export function createStoreGauges(registry: Registry) {
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
    deadLetters: gauge(
      "dead_letters_waiting",
      "Dead letters that were neither replayed nor discarded.",
    ),
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

/** Shows an observation. A store that did not answer keeps its last figures. */
export function setStoreGauges(
  gauges: StoreGauges,
  { store, archive, stream }: Observation,
  pool: Archive,
  runsPipeline: boolean,
): void {
  showConnections(gauges, pool);
  if (archive !== null) gauges.deadLetters.set(archive.marks.deadLetters);
  if (stream !== undefined) {
    gauges.streamBytes.set(stream?.bytes ?? 0);
    gauges.streamMaxBytes.set(stream?.maxBytes ?? 0);
    gauges.streamMessages.set(stream?.messages ?? 0);
  }
  if (store === null) return;
  showRedis(gauges, store);
  // One process shows the auction, so that a sum over processes counts it once.
  showLots(gauges, runsPipeline ? store.lots : [], archive);
}

function showConnections({ connections }: StoreGauges, archive: Archive): void {
  const { totalCount, idleCount, waitingCount } = archive.pool;
  connections.set({ state: "busy" }, totalCount - idleCount);
  connections.set({ state: "idle" }, idleCount);
  connections.set({ state: "waiting" }, waitingCount);
}

function showRedis(gauges: StoreGauges, { durability, health }: StoreObservation): void {
  for (const keeps of KEEPS) gauges.durability.set({ keeps }, keeps === durability.keeps ? 1 : 0);
  if (health === null) return;
  gauges.redisBytes.set(health.usedBytes);
  gauges.redisMaxBytes.set(health.maxBytes);
  gauges.redisClients.set(health.clients);
  gauges.redisWritesWell.set(health.writesWell ? 1 : 0);
  // A restarted Redis counts from 0, as a counter may.
  setCounter(gauges.scriptCalls, health.scriptCalls);
  setCounter(gauges.scriptSeconds, health.scriptSeconds);
}

function setCounter(counter: Counter, value: number): void {
  counter.reset();
  counter.inc(value);
}

function showLots(
  gauges: StoreGauges,
  lots: readonly Lot[],
  archive: ArchiveObservation | null,
): void {
  const sum = (figure: (lot: Lot) => number) => lots.reduce((total, lot) => total + figure(lot), 0);
  gauges.leadingMinor.set(sum(({ leadingBid }) => leadingBid?.amountMinor ?? 0));
  gauges.acceptedBids.set(sum(({ bidCount }) => bidCount));
  const archivedSeqs = [...(archive?.lots.values() ?? [])].map(({ seq }) => seq);
  const archivedEvents = archivedSeqs.reduce((total, seq) => total + seq, 0);
  gauges.unarchivedEvents.set(Math.max(0, sum(({ seq }) => seq) - archivedEvents));
  for (const status of STATUSES) {
    gauges.lots.set({ status }, lots.filter((lot) => lot.status === status).length);
  }
}
