/** Reads lots and auctions. Each lot is one hash, so a read of it is consistent. */
import type { Intake, Lot, LotStatus } from "../lot/lot.ts";
import type { Rules } from "../lot/terms.ts";
import type { Store } from "./connect.ts";
import { type Digest, digestOf } from "./digest.ts";
import type { Keys } from "./keys.ts";
import type { Position } from "../lot/position.ts";
import { StoreRefused } from "./unreachable.ts";

/** An auction in the store. */
export interface StoredAuction {
  readonly uid: string;
  readonly name: string;
  readonly title: string;
  /** ISO 4217. */
  readonly currency: string;
  readonly minorUnitDigits: number;
  readonly lotIds: readonly string[];
  readonly rules: Rules;
  /** Null until it opens, where its schedule says "as soon as it is ready". */
  readonly opensAtMs: number | null;
  readonly intake: Intake;
  /** By Redis's clock; null while it is not suspended. */
  readonly suspendedAtMs: number | null;
  /** The last id of the outbox; null while the auction is not fenced. */
  readonly fencedId: string | null;
  readonly fencedAtMs: number | null;
  readonly epoch: number;
  /** The hash of the definition that define-lots wrote last. */
  readonly rulesHash: string;
  /** Bytes of events that Postgres has not committed, and their limit. */
  readonly pendingBytes: number;
  readonly maxPendingBytes: number;
  /** Bytes of idempotency keys of this window, and their limit. */
  readonly keysBytes: number;
  readonly maxKeysBytes: number;
  /** Outbox ids: the watermark of Postgres, and where the outbox was trimmed. */
  readonly archivedId: string;
  readonly trimmedId: string;
  /** The run_id of the server that may decide (server-identity.ts); null before the first confirmation. */
  readonly confirmedServer: string | null;
  /** Positions that a process knew and the store did not have, by lot. */
  readonly ahead: ReadonlyMap<string, Position>;
}

/** Null if the store has no auction. */
export async function readAuction(store: Store, keys: Keys): Promise<StoredAuction | null> {
  const fields = await store.hgetall(keys.auction);
  return fields["uid"] === undefined ? null : auctionOf(fields);
}

export function auctionOf(fields: Record<string, string>): StoredAuction {
  const field = (name: string) => {
    const value = fields[name];
    if (value === undefined) throw new StoreRefused(`the auction in the store has no ${name}`);
    return value;
  };
  return {
    uid: field("uid"),
    name: field("name"),
    title: field("title"),
    currency: field("currency"),
    minorUnitDigits: Number(field("minorUnitDigits")),
    lotIds: JSON.parse(field("lotIds")) as string[],
    rules: {
      increments: (JSON.parse(field("increments")) as [number, number][]).map(
        ([fromMinor, stepMinor]) => ({ fromMinor, stepMinor }),
      ),
      antiSniping: {
        windowMs: Number(field("windowMs")),
        extensionMs: Number(field("extensionMs")),
        maxExtensions: Number(field("maxExtensions")),
      },
      maxAmountMinor: Number(field("maxAmountMinor")),
      maxJump: numberOrNull(fields["maxJump"]),
      reserveDisclosure: field("reserveDisclosure") as Rules["reserveDisclosure"],
    },
    opensAtMs: numberOrNull(fields["opensAtMs"]),
    ...haltOf(fields),
    epoch: Number(field("epoch")),
    rulesHash: field("rulesHash"),
    pendingBytes: Number(field("pendingBytes")),
    maxPendingBytes: Number(field("maxPendingBytes")),
    keysBytes: Number(fields["keysBytes"] ?? 0),
    maxKeysBytes: Number(fields["maxKeysBytes"] ?? Infinity),
    archivedId: fields["archivedId"] ?? "0-0",
    trimmedId: fields["trimmedId"] ?? "0-0",
    confirmedServer: fields["confirmedServer"] ?? null,
    ahead: aheadOf(fields),
  };
}

function haltOf(fields: Record<string, string>) {
  const fencedId = fields["fencedId"] ?? null;
  const isSuspended = fields["suspended"] === "1";
  const intake: Intake = fencedId !== null ? "fenced" : isSuspended ? "suspended" : "taking";
  return {
    intake,
    fencedId,
    fencedAtMs: numberOrNull(fields["fencedAtMs"]),
    suspendedAtMs: isSuspended ? numberOrNull(fields["suspendedAtMs"]) : null,
  };
}

const AHEAD = "ahead:";

function aheadOf(fields: Record<string, string>): Map<string, Position> {
  const names = Object.keys(fields).filter((name) => name.startsWith(AHEAD));
  return new Map(
    names.map((name) => {
      const [epoch, seq] = fields[name]!.split("-").map(Number);
      return [name.slice(AHEAD.length), { epoch: epoch!, seq: seq! }];
    }),
  );
}

/** The lots with the given lotIds, in that order; null for an unknown lot. */
export async function readLots(
  store: Store,
  keys: Keys,
  auction: StoredAuction,
  lotIds: readonly string[],
): Promise<(Lot | null)[]> {
  if (lotIds.length === 0) return [];
  const pipeline = store.pipeline();
  for (const lotId of lotIds) pipeline.hgetall(keys.lot(lotId).lot);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, fields]) => {
    if (error) throw error;
    return lotOf(fields as Record<string, string>, auction);
  });
}

/** The digest of each lot; null for an unknown lot. */
export async function readDigests(
  store: Store,
  keys: Keys,
  lotIds: readonly string[],
): Promise<(Digest | null)[]> {
  if (lotIds.length === 0) return [];
  const names = ["bidCount", "sumMinor", "chain"];
  const pipeline = store.pipeline();
  for (const lotId of lotIds) pipeline.hmget(keys.lot(lotId).lot, ...names);
  const replies = (await pipeline.exec()) ?? [];
  return replies.map(([error, values]) => {
    if (error) throw error;
    const given = values as (string | null)[];
    if (given[0] === null) return null;
    return digestOf(
      Object.fromEntries(names.flatMap((name, i) => (given[i] ? [[name, given[i]]] : []))),
    );
  });
}

/** Null for an empty hash. */
export function lotOf(
  fields: Record<string, string>,
  { rules, intake }: Pick<StoredAuction, "rules" | "intake">,
): Lot | null {
  if (fields["status"] === undefined) return null;
  const number = (name: string) => Number(fields[name]);
  return {
    lotId: fields["lotId"] ?? "",
    title: fields["title"] ?? "",
    status: fields["status"] as LotStatus,
    intake,
    startMinor: number("startMinor"),
    reserveMinor: numberOrNull(fields["reserveMinor"]),
    rules,
    opensAtMs: numberOrNull(fields["opensAtMs"]),
    closesAtMs: numberOrNull(fields["closesAtMs"]),
    extensions: number("extensions"),
    epoch: number("epoch"),
    seq: number("seq"),
    atMs: number("atMs"),
    bidCount: number("bidCount"),
    leadingBid:
      fields["amountMinor"] === undefined
        ? null
        : {
            bidId: fields["bidId"] ?? "",
            bidderId: JSON.parse(fields["bidder"] ?? '""') as string,
            amountMinor: number("amountMinor"),
          },
  };
}

function numberOrNull(text: string | undefined): number | null {
  return text === undefined || text === "" ? null : Number(text);
}
