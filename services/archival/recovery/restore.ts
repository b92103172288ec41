/**
 * Puts an auction back into a Redis that lost it, or lost its tail, from Postgres and JetStream. Under a
 * higher epoch, above every `seq` that is known, with every known bid: an amount never goes back, a closed
 * lot stays closed, and a bid that was acknowledged and relayed is answered as before.
 */
import type { Bus } from "../../bus/connect.ts";
import { encodeEvent, encodeEvents, type LotEvent } from "../../lot/events.ts";
import { apply } from "../../lot/lifecycle.ts";
import type { Lot } from "../../lot/lot.ts";
import type { Logger } from "../../runtime/log.ts";
import { connectStore, type Store, storeClockMs } from "../../store/connect.ts";
import {
  type AuctionDefinition,
  fieldsOf,
  type LotDefinition,
  lotFieldsOf,
} from "../../store/define-lots.ts";
import { goingOn, readClaims } from "../../store/claims.ts";
import { type Digest, digestAfter } from "../../store/digest.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readDigests, readLots, type StoredAuction } from "../../store/lots.ts";
import { isBehind, type Position, START } from "../../lot/position.ts";
import {
  AnswerWriter,
  restoreAuction,
  restoreLot,
  type StreamEntry,
  askForRestore,
} from "../../store/restore.ts";
import { archiveStream } from "./archive-stream.ts";
import {
  answeredOf,
  type KnownLot,
  raiseEpoch,
  readDefinition,
  readKnownLots,
  readRecent,
} from "../postgres/archived-lots.ts";
import { readMarks, markFenced } from "../postgres/auction-marks.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import { readArchivedDigest } from "../api/completeness-proof.ts";

/** Its commands carry a lot's latest events each, while nobody bids. */
const COMMAND_TIMEOUT_MS = 30_000;

export interface RestoreOf {
  readonly of: Partition;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly archive: Archive;
  readonly bus: Bus;
  /** Of the outbox, where the store has no auction to say it. */
  readonly maxBytes: number;
  readonly log: Logger;
}

export interface Restored {
  readonly epoch: number;
  readonly lots: number;
  /** Those that the store did not have, or had less of. */
  readonly behind: readonly string[];
  /** Events that were on the stream and not in Postgres; they are now. */
  readonly fromStream: number;
  /** When the latest known event happened; null where there is none. */
  readonly lastKnownAtMs: number | null;
  /** From then until now, by Redis's clock: what was acknowledged in between may be lost. */
  readonly lossWindowMs: number | null;
}

/**
 * Nothing decides meanwhile. Repeating it raises the epoch again and changes nothing else.
 * @throws RestoreSuperseded, or when a store does not answer: the store decides nothing until it is repeated
 */
export async function restore(parts: RestoreOf): Promise<Restored> {
  const store = connectStore(parts.readStoreUrl, "archival-restore", COMMAND_TIMEOUT_MS);
  store.on("error", () => {}); // Its commands fail with it.
  try {
    await store.connect();
    return await restoreInto(store, parts);
  } finally {
    store.disconnect();
  }
}

async function restoreInto(store: Store, parts: RestoreOf): Promise<Restored> {
  const { of, keys, archive, bus, maxBytes, log } = parts;
  const { inserted, watermark } = await archiveStream(bus, archive, of, log);
  const definition = await readDefinition(archive, of.auctionUid);
  if (definition === null) throw new Error(`the archive does not know auction ${of.auctionUid}`);
  const known = await readKnownLots(archive, of.auctionUid);
  const marks = await readMarks(archive, of.auctionUid);
  if (marks.cleaning) throw new Error(`auction ${of.auctionUid} was removed for good`);

  if ((await readAuction(store, keys)) !== null) await askForRestore(store, keys);
  const auction = await readAuction(store, keys);
  const present = auction === null ? [] : await readLots(store, keys, auction, auction.lotIds);
  const there = new Map(present.map((lot, i) => [auction!.lotIds[i]!, lot]));
  const ahead = auction?.ahead ?? new Map<string, Position>();
  const epoch = await raiseEpoch(archive, of.auctionUid, highestEpoch(auction, known, ahead));

  const nowMs = await storeClockMs(store);
  const answers = await AnswerWriter.begin(store, keys, nowMs);
  const opensAtMs = auction?.opensAtMs ?? openingOf(definition, known);
  const behind: string[] = [];
  const claims = await readClaims(store, keys);
  const claimed: (readonly [string, string])[] = [];
  const lotIds = auction?.lotIds ?? definition.lots.map(({ lotId }) => lotId);
  for (const lotId of lotIds) {
    const has = there.get(lotId) ?? null;
    const knows = known.get(lotId) ?? null;
    const write = (answered: Parameters<AnswerWriter["write"]>[0]) => answers.write(answered);
    const entries = await readRecent(archive, of.auctionUid, lotId, answers.sinceMs, write);
    const seen = ahead.get(lotId) ?? null;
    const isLacking = has === null || (knows !== null && isBehind(has, knows));
    const lot = definition.lots.find((one) => one.lotId === lotId);
    const base = isLacking ? knows : has;
    // Shown to viewers, and neither relayed nor here: only a claim has it.
    const lost = goingOn(claims.get(lotId) ?? [], base ?? START);
    const latest = lot === undefined ? base : withEvents(lot, definition, base, lost);
    await answers.write(lost.filter((event) => event.type === "bid_accepted").map(answeredOf));
    const lostEntry = lost.length === 0 ? [] : [entryOf(lost)];
    claimed.push(...lostEntry.map(({ events }) => [lotId, events] as const));
    if (isLacking || lost.length > 0 || (seen !== null && isBehind(has, seen))) behind.push(lotId);
    const state = latest === null ? null : { ...latest, seq: seqAfter(latest, seen) };
    const defined = has === null && lot !== undefined ? definedOf(lot, opensAtMs) : null;
    const own = isLacking || lostEntry.length === 0 ? [] : await ownEntries(store, keys, lotId);
    const stream = isLacking ? entries : own;
    const digest = await digestFor(parts, store, lotId, isLacking, lost);
    const all = [...stream, ...lostEntry];
    await restoreLot(store, keys, epoch, lotId, defined, state, digest, all);
  }
  await restoreAuction(store, keys, {
    epoch,
    floorId: watermark,
    archivedId: watermark,
    claimed,
    lotIds,
    fields: {
      ...(auction === null
        ? { ...fieldsOf(definition, epoch, maxBytes), opensAtMs: String(opensAtMs ?? "") }
        : null),
      ...(auction === null && definition.suspended
        ? { suspendedAtMs: String(marks.suspendedAtMs ?? nowMs) }
        : null),
      ...(marks.fence === null
        ? null
        : { fencedId: marks.fence.fencedId, fencedAtMs: String(marks.fence.fencedAtMs) }),
    },
  });
  const fenced = await readAuction(store, keys);
  if (fenced !== null && fenced.fencedId !== null) {
    const { fencedId, fencedAtMs } = fenced;
    await markFenced(archive, of.auctionUid, { fencedId, fencedAtMs: fencedAtMs! });
  }
  const last = Math.max(0, ...[...known.values()].map(({ atMs }) => atMs));
  return {
    epoch,
    lots: lotIds.length,
    behind,
    fromStream: inserted,
    lastKnownAtMs: last === 0 ? null : last,
    lossWindowMs: last === 0 ? null : Math.max(0, nowMs - last),
  };
}

/** Null where the store's own stands. */
async function digestFor(
  { of, archive, keys }: RestoreOf,
  store: Store,
  lotId: string,
  isLacking: boolean,
  lost: readonly LotEvent[],
): Promise<Digest | null> {
  if (!isLacking && lost.length === 0) return null;
  const [own] = isLacking ? [] : await readDigests(store, keys, [lotId]);
  const base = own ?? (await readArchivedDigest(archive, of.auctionUid, lotId));
  return lost.reduce((digest, event) => digestAfter(digest, event, encodeEvent(event)), base);
}

/** A lot after events that only a claim has. */
function withEvents(
  { lotId, title, startMinor, reserveMinor }: LotDefinition,
  { rules }: AuctionDefinition,
  base: KnownLot | null,
  events: readonly LotEvent[],
): KnownLot | null {
  if (events.length === 0) return base;
  const terms = { lotId, title, startMinor, reserveMinor, rules, intake: "taking" as const };
  return events.reduce<Lot>(apply, { ...terms, ...(base ?? UNOPENED) });
}

const UNOPENED: KnownLot = {
  status: "scheduled",
  epoch: 0,
  seq: 0,
  atMs: 0,
  opensAtMs: null,
  closesAtMs: null,
  extensions: 0,
  bidCount: 0,
  leadingBid: null,
};

function entryOf(events: readonly LotEvent[]): StreamEntry {
  const { epoch, seq } = events.at(-1)!;
  return { id: `${epoch}-${seq}`, events: encodeEvents(events) };
}

async function ownEntries(store: Store, keys: Keys, lotId: string): Promise<StreamEntry[]> {
  const entries = await store.xrange(keys.lot(lotId).events, "-", "+");
  return entries.map(([id, [, events]]) => ({ id, events: events! }));
}

function highestEpoch(
  auction: StoredAuction | null,
  known: ReadonlyMap<string, KnownLot>,
  ahead: ReadonlyMap<string, Position>,
): number {
  const epochs = [...known.values(), ...ahead.values()].map(({ epoch }) => epoch);
  return Math.max(auction?.epoch ?? 0, ...epochs);
}

/** An opening was stamped once for all lots: any lot that opened tells it. */
function openingOf(
  { opensAtMs }: AuctionDefinition,
  known: ReadonlyMap<string, KnownLot>,
): number | null {
  const openings = [...known.values()].flatMap((lot) => lot.opensAtMs ?? []);
  return opensAtMs ?? (openings.length === 0 ? null : Math.min(...openings));
}

/** The next event stands above everything that anybody has seen. */
function seqAfter({ epoch, seq }: Position, seen: Position | null): number {
  return seen !== null && seen.epoch >= epoch ? Math.max(seq, seen.seq) : seq;
}

/** As define-lots.lua writes a lot that has no events. */
function definedOf(lot: LotDefinition, opensAtMs: number | null): Record<string, string> {
  const scheduled = { status: "scheduled", seq: "0", atMs: "0", extensions: "0", bidCount: "0" };
  const fields = { ...scheduled, ...lotFieldsOf(lot) };
  const closes = lot.closesAtMs ?? (opensAtMs === null ? null : opensAtMs + lot.lastsMs!);
  if (closes === null) return fields;
  const times = { closesAtMs: String(closes), definedCloseMs: String(closes) };
  return opensAtMs === null
    ? { ...fields, definedCloseMs: String(closes) }
    : { ...fields, ...times, opensAtMs: String(opensAtMs) };
}
