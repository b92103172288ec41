/**
 * Before a Redis decides anything, after it was started, replaced or emptied: does it have all that was
 * relayed and archived? If it has, it is confirmed; if not, that is put back under a higher epoch.
 */
import type { Bus } from "../../bus/connect.ts";
import { streamState } from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { Store } from "../../store/connect.ts";
import type { Keys } from "../../store/keys.ts";
import { readAuction, readLots, type StoredAuction } from "../../store/lots.ts";
import { isBehind, type Position } from "../../lot/position.ts";
import { forgetAhead, isBeingRestored, RESTORE_ASKED } from "../../store/restore.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { confirmServer, serverOf, wasPromoted } from "../../store/which-server.ts";
import { archiveStream } from "./archive-stream.ts";
import { readKnownLots } from "../postgres/archived-lots.ts";
import { readMarks } from "../postgres/auction-marks.ts";
import type { ArchivalMetrics } from "../metrics.ts";
import type { Archive } from "../postgres/connection.ts";
import type { Partition } from "../pipeline/record.ts";
import type { Relayed } from "../pipeline/relayed-positions.ts";
import { restore } from "./restore.ts";

/**
 * How long a store that lost something waits for claims: a process that lives sees the store again within a
 * second, and looks at once.
 */
const CLAIM_MS = 1_200;

export interface CheckOf {
  readonly of: Partition;
  readonly store: Store;
  readonly readStoreUrl: () => string;
  readonly keys: Keys;
  readonly archive: Archive;
  /** Waits for NATS. @throws when the tier is to stop meanwhile */
  readonly bus: () => Promise<Bus>;
  readonly maxBytes: number;
  readonly metrics: ArchivalMetrics;
  readonly log: Logger;
  readonly onLost: () => void;
}

export type Checked =
  /** It may decide. */
  | "confirmed"
  /** It may decide, under a higher epoch. */
  | "restored"
  /** No auction is there, and none of it was ever archived or relayed. */
  | "new"
  /** It was removed for good: nothing is put back. */
  | "removed";

/**
 * @param relayed what this process relayed, where it holds the lease; null: Postgres and NATS are asked
 * @throws when a store that must be asked does not answer: nothing decides until it is asked again
 */
export async function checkStore(check: CheckOf, relayed: Relayed | null): Promise<Checked> {
  const { store, keys, log } = check;
  const auction = await readAuction(store, keys);
  if (auction === null) {
    if ((await readMarks(check.archive, check.of.auctionUid)).cleaning) return "removed";
    if (!(await isKnown(check))) return "new";
    await pause(CLAIM_MS);
    return putBack(check, null);
  }

  const server = await serverOf(store);
  const lots = await positionsOf(check, auction);
  const ahead = [...auction.ahead].filter(([lotId, seen]) => isLacking(lots, lotId, seen));
  if (auction.confirmedServer === server && ahead.length === 0) {
    // Nothing that was relayed can be beyond a store that decides.
    if (relayed !== null && relayed.positions === null) relayed.begin(lots);
    await forgetAhead(store, keys, [...auction.ahead.keys()]);
    return "confirmed";
  }
  if (auction.confirmedServer !== server && (await wasPromoted(store))) {
    // It may lack what not even the relay had read. Whoever showed such events claims them.
    await pause(CLAIM_MS);
    const again = await readAuction(store, keys);
    ahead.splice(
      0,
      ahead.length,
      ...[...(again?.ahead ?? [])].filter(([lotId, seen]) => isLacking(lots, lotId, seen)),
    );
  }
  const known = relayed?.positions ?? (await readKnown(check));
  const behind = [...known].filter(([lotId, seen]) => isLacking(lots, lotId, seen));
  const lacking = [...behind, ...ahead].map(([lotId, seen]) => {
    return { lotId, has: lots.get(lotId) ?? null, known: seen };
  });
  const isAsked = auction.confirmedServer === RESTORE_ASKED || (await isBeingRestored(store, keys));
  if (lacking.length > 0 || isAsked) return putBack(check, lacking);
  if (!(await confirmServer(store, keys, server)))
    throw new StoreUnavailable("Redis changed meanwhile");
  log.info({ server, lots: lots.size }, "the store has all that was relayed: it goes on");
  relayed?.begin(lots);
  return "confirmed";
}

async function isKnown({ of, archive, bus }: CheckOf): Promise<boolean> {
  const { rows } = await archive.query<{ known: boolean }>(
    "select exists (select from events where auction_uid = $1) as known",
    [of.auctionUid],
  );
  if (rows[0]!.known) return true;
  const onStream = await streamState(await bus(), of.auctionUid);
  return onStream !== null && onStream.lastSeq > 0;
}

async function positionsOf(
  { store, keys }: CheckOf,
  auction: StoredAuction,
): Promise<Map<string, Position>> {
  const lots = await readLots(store, keys, auction, auction.lotIds);
  const known = lots.filter((lot) => lot !== null);
  return new Map(known.map(({ lotId, epoch, seq }) => [lotId, { epoch, seq }]));
}

function isLacking(lots: ReadonlyMap<string, Position>, lotId: string, seen: Position): boolean {
  const has = lots.get(lotId);
  return has === undefined || isBehind(has, seen);
}

async function readKnown({ of, archive, bus, log }: CheckOf): Promise<Map<string, Position>> {
  await archiveStream(await bus(), archive, of, log);
  return readKnownLots(archive, of.auctionUid);
}

/** @param lacking what a store that has the auction does not have; null where it has no auction */
async function putBack(
  check: CheckOf,
  lacking: readonly { lotId: string; has: Position | null; known: Position }[] | null,
): Promise<"restored"> {
  const { metrics, log, onLost } = check;
  onLost();
  if (lacking === null) log.error("the store lost its data: it has no auction; putting it back");
  else if (lacking.length === 0) log.warn("a restore was asked for, or broken off");
  else log.error({ lacking }, "the store has less than was acknowledged; putting it back");
  const restored = await restore({ ...check, bus: await check.bus() });
  metrics.restores.inc();
  if (lacking !== null && lacking.length > 0) metrics.regressions.inc();
  log.error(restored, "the auction was put back under a higher epoch");
  return "restored";
}
