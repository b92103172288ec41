/**
 * The optimistic strategy: read under WATCH, decide with lot/decide.ts, write under MULTI/EXEC, which Redis aborts
 * when the lot has changed. It gives the same answers and events as the script. It exists for comparison, and
 * proves that the script and lot/decide.ts have the same rules.
 *
 * A WATCH belongs to its connection and ends with any EXEC on it, so each transaction has a connection of its
 * own. A key that expires at the lot's close is watched, too: EXEC then fails. The script decides the rare cases:
 * a lot to be opened, keys to be rotated, and a batch that lost `MAX_TRIES` races. A bidder never sees a race.
 */
import { decide } from "../lot/decide.ts";
import { type BidAccepted, encodeEvent, encodeEvents, type LotEvent } from "../lot/events.ts";
import type { Bid, Lot } from "../lot/lot.ts";
import { isBehind } from "../lot/position.ts";
import type { Strategy } from "./batcher.ts";
import { type Store, storeClockMs } from "./connect.ts";
import type { StoreConnections } from "./connections.ts";
import { type Digest, digestAfter, digestOf } from "./digest.ts";
import { type Keys, KEYS_WINDOW_MS, LOT_STREAM_BYTES } from "./keys.ts";
import { auctionOf, lotOf } from "./lots.ts";
import { keptBytesOf } from "./memory-budget.ts";
import {
  type Accepted,
  type DecidedBatch,
  NotDecided,
  type Placement,
  placeBids,
  readAnswer,
  writeAnswer,
} from "./place-bids.ts";
import { knownRunId } from "./server-identity.ts";

const CONNECTIONS = 8;
const MAX_TRIES = 5;

interface OptimisticOptions {
  /** The batch lost a race and is tried again. */
  readonly onConflict?: () => void;
  /** The script decided the batch. */
  readonly onScript?: () => void;
}

export function optimisticStrategy(
  connections: StoreConnections,
  keys: Keys,
  { onConflict, onScript }: OptimisticOptions = {},
): Strategy {
  const all = Array.from({ length: CONNECTIONS }, (_, i) => connections.open(`optimistic-${i}`));
  const free = [...all];
  const queue: ((store: Store) => void)[] = [];
  const take = (): Store | Promise<Store> =>
    free.pop() ?? new Promise((resolve) => queue.push(resolve));
  const giveBack = (store: Store): void => {
    const next = queue.shift();
    if (next) next(store);
    else free.push(store);
  };

  return {
    operation: "EXEC",
    maxInFlight: 1,
    /** Reads all connections: a caller that waits for the store must not get one that is still connecting. */
    nowMs: async () => Math.max(...(await Promise.all(all.map(storeClockMs)))),
    async decide(...args) {
      const store = await take();
      try {
        for (let tries = 0; tries < MAX_TRIES; tries++) {
          const attempt = await attemptBatch(store, keys, ...args);
          if (attempt === "script") break;
          if (attempt !== "conflict") return attempt;
          onConflict?.();
        }
        onScript?.();
        return await placeBids(store, keys, ...args);
      } catch (error) {
        // A WATCH or a late reply may be left: reconnect. A connection that is still connecting is fresh, and
        // restarting it with each bid would keep it from ever connecting.
        const isConnected = store.status === "ready";
        if ((error as Error).name !== "ReplyError" && isConnected) store.disconnect(true);
        throw error;
      } finally {
        giveBack(store);
      }
    },
  };
}

async function attemptBatch(
  store: Store,
  keys: Keys,
  ...[lotId, bids, known, deadlineMs, traceparent = null, onSend]: Parameters<Strategy["decide"]>
): Promise<DecidedBatch | "conflict" | "script"> {
  const names = bids.map(
    ({ bidderId, key }) => `${lotId}:${JSON.stringify(bidderId)}:${JSON.stringify(key)}`,
  );
  const { auction, lot, digest, stream, recent, older, nowMs } = await read(
    store,
    keys,
    lotId,
    names,
  );
  const bucket = Math.floor(nowMs / KEYS_WINDOW_MS);
  if (
    auction === null ||
    lot === null ||
    lot.status === "scheduled" ||
    nowMs > deadlineMs ||
    isBehind(lot, known) ||
    auction.pendingBytes >= auction.maxPendingBytes ||
    auction.keysBytes >= auction.maxKeysBytes ||
    bucket > auction.keysBucket ||
    (auction.confirmedServer !== null && auction.confirmedServer !== knownRunId(store))
  ) {
    await store.unwatch();
    return "script";
  }

  const judged = judge(lot, bids, names, recent, older, nowMs);
  if (judged.events.length === 0) await store.unwatch();
  else {
    onSend?.();
    const { keysBucket } = auction;
    const isWritten = await write(
      store,
      keys,
      lot,
      digest,
      stream,
      judged,
      keysBucket,
      traceparent,
    );
    if (!isWritten) return "conflict";
  }
  const { epoch, seq } = judged.lot;
  return { placements: judged.placements, position: { epoch, seq }, nowMs };
}

async function read(store: Store, keys: Keys, lotId: string, names: string[]) {
  const { lot: lotKey, closing } = keys.lot(lotId);
  const pipeline = store.pipeline();
  pipeline.watch(lotKey, closing);
  pipeline.hgetall(keys.auction);
  pipeline.hgetall(lotKey);
  for (const answers of keys.answers) pipeline.hmget(answers, ...names);
  pipeline.time();
  const replies = ((await pipeline.exec()) ?? []).map(([error, reply]) => {
    if (error) throw new NotDecided(error.message, { cause: error });
    return reply;
  });
  const [, fields, lotFields, even, odd, time] = replies as [
    unknown,
    Record<string, string>,
    Record<string, string>,
    (string | null)[],
    (string | null)[],
    [string, string],
  ];
  const stored = fields["uid"] === undefined ? null : auctionOf(fields);
  const keysBucket = Number(fields["keysBucket"]);
  const [recent, older] = keysBucket % 2 === 0 ? [even, odd] : [odd, even];
  return {
    auction: stored && { ...stored, keysBucket },
    lot: stored && lotOf(lotFields, stored),
    digest: digestOf(lotFields),
    stream: { from: lotFields["streamFrom"] ?? null, bytes: Number(lotFields["streamBytes"] ?? 0) },
    recent,
    older,
    nowMs: Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000),
  };
}

interface Judged {
  readonly placements: Placement[];
  readonly events: LotEvent[];
  /** Alternating names and answers of the bids accepted now, as HSET takes them. */
  readonly toKeep: string[];
  readonly lot: Lot;
}

function judge(
  lot: Lot,
  bids: readonly Bid[],
  names: string[],
  recent: (string | null)[],
  older: (string | null)[],
  nowMs: number,
): Judged {
  const placements: Placement[] = [];
  const events: LotEvent[] = [];
  const toKeep: string[] = [];
  const answered = new Map<string, string>();
  let after = lot;
  for (const [i, bid] of bids.entries()) {
    const name = names[i]!;
    const earlier = answered.get(name) ?? recent[i] ?? older[i];
    if (earlier) {
      const answer = readAnswer(lot.lotId, lot.epoch, earlier) as Accepted;
      const same = answer.amountMinor === bid.amountMinor;
      placements.push(same ? answer : { outcome: "key_reused" });
      continue;
    }
    const decision = decide(after, bid, nowMs);
    if (!decision.accepted) {
      const { rejection, minimumMinor, maximumMinor } = decision;
      const { epoch, seq } = after;
      placements.push({ outcome: rejection, minimumMinor, maximumMinor, epoch, seq });
      continue;
    }
    const placement = acceptedOf(decision.events);
    const answer = writeAnswer(placement);
    after = decision.lot;
    events.push(...decision.events);
    answered.set(name, answer);
    toKeep.push(name, answer);
    placements.push(placement);
  }
  return { placements, events, toKeep, lot: after };
}

function acceptedOf(events: readonly LotEvent[]): Accepted {
  const event = events.find(({ type }) => type === "bid_accepted") as BidAccepted;
  const {
    lotId,
    epoch,
    seq,
    atMs: placedAtMs,
    bidId,
    amountMinor,
    closesAtMs,
    minimumMinor,
  } = event;
  const answer = { bidId, lotId, amountMinor, epoch, seq, placedAtMs, closesAtMs, minimumMinor };
  return { outcome: "accepted", ...answer };
}

/** Where a lot's stream was last halved, and the bytes since then: `append` of lot-functions.lua. */
interface LotStream {
  readonly from: string | null;
  readonly bytes: number;
}

/** False when EXEC was aborted: the lot changed or closed since it was read. */
async function write(
  store: Store,
  keys: Keys,
  before: Lot,
  had: Digest,
  stream: LotStream,
  { lot, events, toKeep }: Judged,
  keysBucket: number,
  traceparent: string | null,
): Promise<boolean> {
  const { lot: lotKey, events: eventsKey, closing } = keys.lot(lot.lotId);
  const { bidId, bidderId, amountMinor } = lot.leadingBid!;
  const text = encodeEvents(events);
  const { sumMinor, chain } = events.reduce(
    (digest, event) => digestAfter(digest, event, encodeEvent(event)),
    had,
  );
  const entry = ["events", text];
  const beside = traceparent === null ? [] : ["traceparent", traceparent];
  const id = `${lot.epoch}-${lot.seq}`;
  const bytes = Buffer.byteLength(text);
  const streamBytes = stream.bytes + bytes;
  const startsHalf = stream.from !== null && streamBytes > LOT_STREAM_BYTES / 2;
  const trimmed = startsHalf ? ["MINID", stream.from] : [];
  const multi = store
    .multi()
    .call("XADD", eventsKey, ...trimmed, id, ...entry)
    .xadd(keys.outbox, "*", "lotId", lot.lotId, ...entry, ...beside)
    .hincrby(keys.auction, "pendingBytes", bytes)
    .hset(lotKey, {
      seq: lot.seq,
      atMs: lot.atMs,
      extensions: lot.extensions,
      bidCount: lot.bidCount,
      bidId,
      bidder: JSON.stringify(bidderId),
      amountMinor,
      sumMinor,
      chain,
      streamFrom: startsHalf ? id : (stream.from ?? id),
      streamBytes: startsHalf ? bytes : streamBytes,
    })
    .hincrby(keys.auction, "keysBytes", keptBytesOf(toKeep))
    .hset(keys.answers[keysBucket % 2]!, ...toKeep);
  if (lot.closesAtMs !== before.closesAtMs) {
    multi
      .hset(lotKey, "closesAtMs", lot.closesAtMs!)
      .zadd(keys.due, lot.closesAtMs!, lot.lotId)
      .set(closing, "1", "PXAT", lot.closesAtMs!);
  }
  const replies = await multi.exec();
  const failed = replies?.find(([error]) => error !== null)?.[0];
  if (failed) throw new Error(`a transaction was half applied: ${failed.message}`);
  return replies !== null;
}
