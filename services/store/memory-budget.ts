/**
 * The memory budget of Redis. Each part of an auction's data has a separate limit, and their sum is what Redis
 * needs as `maxmemory`. So a limit of Gavel is reached, and bids are answered `full`, before Redis refuses writes
 * (OOM) or the kernel kills it. load/fill-redis.live.test.ts fills a real Redis to these limits.
 */
import { KEYS_WINDOW_MS, LOT_STREAM_BYTES } from "./keys.ts";

const KIB = 1024;
const MIB = 1024 ** 2;

/** The size and the limits of an auction, from which its memory budget is computed. */
export interface Capacity {
  readonly lots: number;
  /** Bytes of events that are not archived; bids are refused from this limit on. */
  readonly maxPendingBytes: number;
  /** Bytes of idempotency keys of one window; bids are refused from this limit on. */
  readonly maxKeysBytes: number;
}

interface BudgetPart {
  readonly name: string;
  readonly bytes: number;
  /** How it is computed, in words. */
  readonly because: string;
}

interface MemoryBudget {
  readonly parts: readonly BudgetPart[];
  /** What Redis needs as `maxmemory`. */
  readonly maxMemoryBytes: number;
  /** The limit of its pod or machine: `maxmemory`, the pages that a fork copies, and the buffers beside them. */
  readonly processBytes: number;
}

/** A key with its kept answer, as place-bids.lua counts it: up to 90 bytes of lot, bidder and key (UUIDs), and 102 of the answer. */
const KEY_BYTES = 256;

/** Overhead of a key and its kept answer in a hash: headers, rounding, entry and table. As in place-bids.lua. */
const KEY_OVERHEAD_BYTES = 64;

/** @param kept alternating names and answers, as HSET takes them */
export function keptBytesOf(kept: readonly string[]): number {
  const text = kept.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
  return text + (kept.length / 2) * KEY_OVERHEAD_BYTES;
}

/** The default of tiers.archival.outboxMaxBytes. */
export const DEFAULT_OUTBOX_MAX_BYTES = 256 * MIB;

/** The default of tiers.archival.acceptedPerSecond. */
export const DEFAULT_ACCEPTED_PER_SECOND = 1_000;

/** Bytes of keys that one window may hold, for a configured rate of accepted bids. */
export function maxKeysBytesFor(acceptedPerSecond: number): number {
  return Math.ceil((acceptedPerSecond * KEYS_WINDOW_MS) / 1000) * KEY_BYTES;
}

/** Streams keep more than the text of events: ids, field names, a lot id and a traceparent, and half-full nodes. */
const STREAM_FACTOR = 1.25;

/** The pipeline keeps a quarter of the outbox after it is archived (archival/pipeline/pipeline.ts). */
const OUTBOX_SHARE = 1.25;

/** Events of one call, at most 256 bids: calls in flight exceed the limit of the outbox, and one entry that of a lot's stream. */
const ONE_CALL_BYTES = 384 * KIB;
const CALLS_IN_FLIGHT = 16;

/** Fields of a lot and its places in lists. */
const LOT_BYTES = 4 * KIB;

/** As in claim-events.lua. */
export const CLAIMS_MAX_BYTES = 16 * MIB;

/** Redis itself, its scripts, and keys that do not belong to an auction. */
const BASE_BYTES = 16 * MIB;

/** Requests and replies of the connections of all tiers. */
const CLIENTS_BYTES = 64 * MIB;

/** Rewriting the append-only file forks Redis: pages that change meanwhile are copied. */
const FORK_SHARE = 0.5;
const FILE_BUFFERS_BYTES = 64 * MIB;

export function memoryBudgetOf({ lots, maxPendingBytes, maxKeysBytes }: Capacity): MemoryBudget {
  const outboxText = maxPendingBytes * OUTBOX_SHARE + CALLS_IN_FLIGHT * ONE_CALL_BYTES;
  const lotText = lots * (LOT_STREAM_BYTES + ONE_CALL_BYTES);
  const all: [name: string, bytes: number, because: string][] = [
    [
      "outbox",
      outboxText * STREAM_FACTOR,
      `${mib(maxPendingBytes)} of events, a quarter more kept`,
    ],
    ["idempotency keys", 2 * maxKeysBytes, `two windows of ${mib(maxKeysBytes)}`],
    [
      "lot streams",
      lotText * STREAM_FACTOR,
      `${lots} lots, ${mib(LOT_STREAM_BYTES)} of events each`,
    ],
    ["lots", lots * LOT_BYTES, `${lots} lots`],
    ["claims", CLAIMS_MAX_BYTES * STREAM_FACTOR, "only after Redis lost events"],
    ["connections", CLIENTS_BYTES, "requests and replies"],
    ["Redis itself", BASE_BYTES, "without data"],
  ];
  const parts = all.map(([name, bytes, because]) => ({ name, bytes: Math.ceil(bytes), because }));
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const maxMemoryBytes = Math.ceil(total / MIB) * MIB;
  const processBytes = maxMemoryBytes * (1 + FORK_SHARE) + FILE_BUFFERS_BYTES;
  return { parts, maxMemoryBytes, processBytes: Math.ceil(processBytes / MIB) * MIB };
}

/**
 * The `maxmemory` with which a process stays within this many bytes: the inverse of `processBytes`. Below 102 MiB it is
 * a quarter: the copied pages of a fork take at most another quarter, and little data needs no large buffers.
 */
export function maxMemoryWithin(processBytes: number): number {
  const beside = (processBytes - FILE_BUFFERS_BYTES) / (1 + FORK_SHARE);
  return Math.max(MIB, Math.floor(Math.max(beside, processBytes / 4)));
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

/** Why a Redis with this `maxmemory` may run out of memory before bids are refused, and what to change; else null. */
export function memoryShortage(capacity: Capacity, maxMemoryBytes: number): string | null {
  const needed = memoryBudgetOf(capacity).maxMemoryBytes;
  if (maxMemoryBytes >= needed) return null;
  const has = maxMemoryBytes === 0 ? "no maxmemory" : `maxmemory ${maxMemoryBytes}`;
  return `Redis has ${has}, and this auction needs ${needed} bytes: set maxmemory ${needed}, or lower outboxMaxBytes or acceptedPerSecond (gavel capacity)`;
}
