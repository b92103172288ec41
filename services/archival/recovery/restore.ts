/**
 * Restores an auction into a Redis that lost it, or lost its tail, from Postgres and JetStream. The restored
 * auction has a higher epoch, goes on above every known `seq`, and has every known bid: an amount never goes
 * back, a closed lot stays closed, and a bid that was acknowledged and relayed is answered as before.
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
  type StoreLimits,
} from "../../store/define-lots.ts";
import { contiguousAfter, readClaims } from "../../store/claims.ts";
import { type Digest, digestAfter } from "../../store/digest.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readDigests, readLots, type StoredAuction } from "../../store/lots.ts";
import { isBehind, type Position, START } from "../../lot/position.ts";
import { MAX_BATCH } from "../../store/place-bids.ts";
import {
  AnswerWriter,
  requestRestore,
  restoreAuction,
  restoreLot,
  type StreamEntry,
} from "../../store/restore.ts";
import { StoreRefused } from "../../store/unreachable.ts";
import { readArchivedDigest } from "../postgres/archived-digest.ts";
import {
  answeredOf,
  type ArchivedLot,
  readArchivedLots,
  readRecentEntries,
} from "../postgres/archived-lots.ts";
import { type AuctionMarks, markFenced, readAuctionMarks } from "../postgres/auction-marks.ts";
import { raiseEpoch, readSavedDefinition } from "../postgres/auctions.ts";
import type { Archive } from "../postgres/connection.ts";
import { archiveStream } from "./archive-stream.ts";

/** A command writes the latest events of a lot. No bids are placed during a restore. */
const COMMAND_TIMEOUT_MS = 30_000;

interface RestoreDependencies {
  readonly auctionUid: string;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly archive: Archive;
  readonly bus: Bus;
  /** Of outbox and keys, if the store has no auction with limits. */
  readonly limits: StoreLimits;
  readonly log: Logger;
}

export interface Restored {
  readonly epoch: number;
  readonly lots: number;
  /** The lots that the store did not have, or had less of. */
  readonly behind: readonly string[];
  /** How many events were on the stream and not in Postgres; they are in Postgres now. */
  readonly fromStream: number;
  /** When the latest known event happened; null if there is none. */
  readonly lastKnownAtMs: number | null;
  /** From then until now, by Redis's clock: what was acknowledged in between may be lost. */
  readonly lossWindowMs: number | null;
}

/**
 * The store decides nothing during a restore. Repeating it raises the epoch again and changes nothing else.
 * @throws RestoreSuperseded, or when a store does not answer: Redis decides nothing until it is repeated
 */
export async function restore(dependencies: RestoreDependencies): Promise<Restored> {
  const store = connectStore(dependencies.readStoreUrl, "archival-restore", COMMAND_TIMEOUT_MS);
  store.on("error", () => {}); // Its commands reject with the same error.
  try {
    await store.connect();
    return await restoreInto(store, dependencies);
  } finally {
    store.disconnect();
  }
}

async function restoreInto(store: Store, dependencies: RestoreDependencies): Promise<Restored> {
  const { auctionUid, keys, archive, bus, log } = dependencies;
  const { inserted, watermark } = await archiveStream(bus, archive, auctionUid, log);
  const sources = await readSources(store, dependencies);
  const { auction, archivedLots, ahead } = sources;
  const highest = highestEpoch(auction, archivedLots, ahead);
  const epoch = await raiseEpoch(archive, auctionUid, highest);
  const nowMs = await storeClockMs(store);
  const answers = await AnswerWriter.begin(store, keys, nowMs);
  const claims = await readClaims(store, keys);
  const target: Target = { ...dependencies, store, epoch, answers, claims };

  const behind: string[] = [];
  const claimed: (readonly [string, string])[] = [];
  for (const lotId of sources.lotIds) {
    const restored = await restoreOneLot(target, sources, lotId);
    if (restored.wasBehind) behind.push(lotId);
    claimed.push(...restored.claimed.map(({ events }) => [lotId, events] as const));
  }
  await restoreAuction(store, keys, {
    epoch,
    floorId: watermark,
    archivedId: watermark,
    claimed,
    lotIds: sources.lotIds,
    fields: auctionFields(sources, epoch, dependencies.limits, nowMs),
  });
  await saveFence(target);
  const lastKnownAtMs = Math.max(0, ...[...archivedLots.values()].map(({ atMs }) => atMs)) || null;
  return {
    epoch,
    lots: sources.lotIds.length,
    behind,
    fromStream: inserted,
    lastKnownAtMs,
    lossWindowMs: lastKnownAtMs === null ? null : Math.max(0, nowMs - lastKnownAtMs),
  };
}

/** What is known of the auction, from the archive and from what the store still has. */
interface Sources {
  readonly definition: AuctionDefinition;
  readonly archivedLots: ReadonlyMap<string, ArchivedLot>;
  readonly marks: AuctionMarks;
  /** Null if the store has no auction. */
  readonly auction: StoredAuction | null;
  readonly storedLots: ReadonlyMap<string, Lot | null>;
  readonly lotIds: readonly string[];
  /** Positions that processes saw, and the store does not have. */
  readonly ahead: ReadonlyMap<string, Position>;
  readonly opensAtMs: number | null;
}

/** @throws Error for an auction that the archive does not have, or that was removed for good */
async function readSources(
  store: Store,
  { auctionUid, keys, archive }: RestoreDependencies,
): Promise<Sources> {
  const definition = await readSavedDefinition(archive, auctionUid);
  if (definition === null)
    throw new StoreRefused(`the archive does not know auction ${auctionUid}`);
  const archivedLots = await readArchivedLots(archive, auctionUid);
  const marks = await readAuctionMarks(archive, auctionUid);
  if (marks.cleaning) throw new StoreRefused(`auction ${auctionUid} was removed for good`);

  if ((await readAuction(store, keys)) !== null) await requestRestore(store, keys);
  const auction = await readAuction(store, keys);
  const stored = auction === null ? [] : await readLots(store, keys, auction, auction.lotIds);
  const storedLots = new Map(stored.map((lot, index) => [auction!.lotIds[index]!, lot]));
  return {
    definition,
    archivedLots,
    marks,
    auction,
    storedLots,
    lotIds: auction?.lotIds ?? definition.lots.map(({ lotId }) => lotId),
    ahead: auction?.ahead ?? new Map<string, Position>(),
    opensAtMs: auction?.opensAtMs ?? openingOf(definition, archivedLots),
  };
}

interface Target extends RestoreDependencies {
  readonly store: Store;
  readonly epoch: number;
  readonly answers: AnswerWriter;
  /** Events that processes saw, and the store does not have. */
  readonly claims: ReadonlyMap<string, readonly LotEvent[]>;
}

/** @returns whether the store lacked something of the lot, and the entries with its claimed events */
async function restoreOneLot(
  target: Target,
  sources: Sources,
  lotId: string,
): Promise<{ wasBehind: boolean; claimed: readonly StreamEntry[] }> {
  const { auctionUid, store, keys, archive, epoch, answers } = target;
  const { definition, opensAtMs } = sources;
  const stored = sources.storedLots.get(lotId) ?? null;
  const archived = sources.archivedLots.get(lotId) ?? null;
  const ahead = sources.ahead.get(lotId) ?? null;
  const lot = definition.lots.find((candidate) => candidate.lotId === lotId);
  const write = (answered: Parameters<AnswerWriter["write"]>[0]) => answers.write(answered);
  const archivedEntries = await readRecentEntries(
    archive,
    auctionUid,
    lotId,
    answers.sinceMs,
    write,
  );

  const isLacking = stored === null || (archived !== null && isBehind(stored, archived));
  const base = isLacking ? archived : stored;
  // Events that viewers saw, and that are neither archived, relayed nor in the store.
  const claims = contiguousAfter(target.claims.get(lotId) ?? [], base ?? START);
  await answers.write(claims.filter((event) => event.type === "bid_accepted").map(answeredOf));
  const claimed = entriesOf(claims);
  const latest = lot === undefined ? base : withEvents(lot, definition, base, claims);

  const defined = stored === null && lot !== undefined ? definedOf(lot, opensAtMs) : null;
  const state = latest === null ? null : { ...latest, seq: seqAfter(latest, ahead) };
  const digest = await digestFor(target, lotId, isLacking, claims);
  const storedEntries =
    isLacking || claimed.length === 0 ? [] : await readStoredEntries(store, keys, lotId);
  const entries = isLacking ? archivedEntries : storedEntries;
  const allEntries = entries.concat(claimed);
  await restoreLot(store, keys, epoch, lotId, defined, state, digest, allEntries);
  const wasBehind = isLacking || claimed.length > 0 || (ahead !== null && isBehind(stored, ahead));
  return { wasBehind, claimed };
}

/** The fields of the auction's hash that the restore sets. */
function auctionFields(
  { auction, definition, marks, opensAtMs }: Sources,
  epoch: number,
  limits: StoreLimits,
  nowMs: number,
): Record<string, string> {
  const fields: Record<string, string> = {};
  if (auction === null) {
    Object.assign(fields, fieldsOf(definition, epoch, limits));
    fields["opensAtMs"] = String(opensAtMs ?? "");
    if (definition.suspended) fields["suspendedAtMs"] = String(marks.suspendedAtMs ?? nowMs);
  }
  if (marks.fence !== null) {
    fields["fencedId"] = marks.fence.fencedId;
    fields["fencedAtMs"] = String(marks.fence.fencedAtMs);
  }
  return fields;
}

/** The restore may have moved the fence to another outbox id. */
async function saveFence({ auctionUid, store, keys, archive }: Target): Promise<void> {
  const auction = await readAuction(store, keys);
  if (auction === null || auction.fencedId === null) return;
  const { fencedId, fencedAtMs } = auction;
  await markFenced(archive, auctionUid, { fencedId, fencedAtMs: fencedAtMs! });
}

/** Null if the digest in the store is right. */
async function digestFor(
  { auctionUid, store, keys, archive }: Target,
  lotId: string,
  isLacking: boolean,
  claims: readonly LotEvent[],
): Promise<Digest | null> {
  if (!isLacking && claims.length === 0) return null;
  const [stored] = isLacking ? [] : await readDigests(store, keys, [lotId]);
  const base = stored ?? (await readArchivedDigest(archive, auctionUid, lotId));
  return claims.reduce((digest, event) => digestAfter(digest, event, encodeEvent(event)), base);
}

/** The lot after claimed events. */
function withEvents(
  { lotId, title, startMinor, reserveMinor }: LotDefinition,
  { rules }: AuctionDefinition,
  base: ArchivedLot | null,
  events: readonly LotEvent[],
): ArchivedLot | null {
  if (events.length === 0) return base;
  const terms = { lotId, title, startMinor, reserveMinor, rules, intake: "taking" as const };
  return events.reduce<Lot>(apply, { ...terms, ...(base ?? UNOPENED) });
}

const UNOPENED: ArchivedLot = {
  ...START,
  status: "scheduled",
  atMs: 0,
  opensAtMs: null,
  closesAtMs: null,
  extensions: 0,
  bidCount: 0,
  leadingBid: null,
};

/** Entries no larger than those of scripts, so that JetStream accepts each. */
function entriesOf(events: readonly LotEvent[]): StreamEntry[] {
  return Array.from({ length: Math.ceil(events.length / MAX_BATCH) }, (_, index) => {
    const some = events.slice(index * MAX_BATCH, (index + 1) * MAX_BATCH);
    const { epoch, seq } = some.at(-1)!;
    return { id: `${epoch}-${seq}`, events: encodeEvents(some) };
  });
}

async function readStoredEntries(store: Store, keys: Keys, lotId: string): Promise<StreamEntry[]> {
  const entries = await store.xrange(keys.lot(lotId).events, "-", "+");
  return entries.map(([id, [, events]]) => ({ id, events: events! }));
}

function highestEpoch(
  auction: StoredAuction | null,
  known: ReadonlyMap<string, ArchivedLot>,
  ahead: ReadonlyMap<string, Position>,
): number {
  const epochs = [...known.values(), ...ahead.values()].map(({ epoch }) => epoch);
  return Math.max(auction?.epoch ?? 0, ...epochs);
}

/** All lots open at the same time: any lot that opened has it. */
function openingOf(
  { opensAtMs }: AuctionDefinition,
  known: ReadonlyMap<string, ArchivedLot>,
): number | null {
  const openings = [...known.values()].flatMap((lot) => lot.opensAtMs ?? []);
  return opensAtMs ?? (openings.length === 0 ? null : Math.min(...openings));
}

/** The seq from which the next event goes on: above every position that any process saw. */
function seqAfter({ epoch, seq }: Position, ahead: Position | null): number {
  return ahead !== null && ahead.epoch >= epoch ? Math.max(seq, ahead.seq) : seq;
}

/** The fields that define-lots.lua writes for a lot without events. */
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
