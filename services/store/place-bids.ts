import type { Bid } from "../lot/lot.ts";
import type { Rejection } from "../lot/decide.ts";
import type { Position } from "../lot/position.ts";
import type { Store } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { knownRunId, readRunId } from "./server-identity.ts";

/** The outcome of a bid. A closed union: a new outcome does not compile until gateway and broadcast answer it. */
export type Placement =
  | Accepted
  | Rejected
  | { readonly outcome: "unknown_lot" }
  /** The key was used before, with another amount. */
  | { readonly outcome: "key_reused" }
  /** Nothing was decided; the bid may be sent again. */
  | { readonly outcome: "unavailable"; readonly why: UnavailableReason }
  /** Redis did not answer: the bid may have been accepted. A retry with the same key returns the outcome. */
  | { readonly outcome: "unknown" };

export interface Accepted extends Position {
  readonly outcome: "accepted";
  readonly bidId: string;
  readonly lotId: string;
  readonly amountMinor: number;
  readonly placedAtMs: number;
  readonly closesAtMs: number;
  readonly minimumMinor: number;
}

/** With the position of the lot when the bid was judged; `seq` is 0 before the lot opened. */
interface Rejected extends Position {
  readonly outcome: Rejection;
  readonly minimumMinor: number;
  readonly maximumMinor: number;
}

export type UnavailableReason =
  "store" | "busy" | "undefined" | "expired" | "regressed" | "unconfirmed" | "full";

export interface DecidedBatch {
  readonly placements: Placement[];
  /** The lot's position after the batch; null if nothing was decided. */
  readonly position: Position | null;
  /** Redis's clock; null if the reply has none. */
  readonly nowMs: number | null;
}

const ID = /^[A-Za-z0-9-]{1,64}$/;

/** Redis decided nothing: the bids may be sent again. */
export class NotDecided extends Error {}

/** Bids in one call: bounds the time that Redis is busy with one lot. */
export const MAX_BATCH = 256;

/** Bounds the text of a bid's event and of the extension that it causes, with the longest bidder id and key. */
const BID_MAX_BYTES = 1_408;

/** The largest outbox entry: a full batch, and the opening before it. */
export const ENTRY_MAX_BYTES = (MAX_BATCH + 1) * BID_MAX_BYTES;

/**
 * Decides bids on one lot, in order, each key at most once.
 * @param known the highest position of the lot in any reply to this process
 * @param deadlineMs by Redis's clock; the bids are not decided after it
 * @param traceparent is kept beside the events in the outbox
 * @param onSend is called right before the call; if it throws, nothing is sent
 * @throws NotDecided, or what ioredis throws when Redis did not answer: the outcome is unknown then
 */
export async function placeBids(
  store: Store,
  keys: Keys,
  lotId: string,
  bids: readonly Bid[],
  known: Position,
  deadlineMs: number,
  traceparent: string | null = null,
  onSend: () => void = () => {},
): Promise<DecidedBatch> {
  if (!ID.test(lotId)) throw new NotDecided(`not a lot id: ${lotId}`);
  if (bids.length > MAX_BATCH) throw new NotDecided(`more than ${MAX_BATCH} bids in a batch`);
  const { lot, events, closing } = keys.lot(lotId);
  const runId = knownRunId(store) ?? (await readRunIdFirst(store));
  const args: (string | number)[] = [
    keys.auction,
    keys.outbox,
    keys.due,
    ...keys.answers,
    lot,
    events,
    closing,
    lotId,
    known.epoch,
    known.seq,
    deadlineMs,
    runId,
    traceparent ?? "",
  ];
  for (const { bidId, bidderId, key, amountMinor } of bids) {
    if (!ID.test(bidId)) throw new NotDecided(`not a bid id: ${bidId}`);
    args.push(bidId, JSON.stringify(bidderId), JSON.stringify(key), amountMinor);
  }
  onSend();
  const [status, nowMs, ...rest] = await store.placeBids(...args);
  return readReply(lotId, bids.length, status, Number(nowMs), rest);
}

/** No bid was sent yet: a failure decides nothing. */
function readRunIdFirst(store: Store): Promise<string> {
  return readRunId(store).catch((error: Error) => {
    throw new NotDecided(error.message, { cause: error });
  });
}

function readReply(
  lotId: string,
  count: number,
  status: string,
  nowMs: number,
  rest: (string | number)[],
): DecidedBatch {
  const all = (placement: Placement): DecidedBatch => ({
    placements: Array<Placement>(count).fill(placement),
    position: null,
    nowMs: status === "undefined" ? null : nowMs,
  });
  switch (status) {
    case "undefined":
    case "expired":
    case "regressed":
    case "unconfirmed":
      return all({ outcome: "unavailable", why: status });
    case "unknown_lot":
      return all({ outcome: "unknown_lot" });
    case "decided": {
      const [epoch, seq, , ...answers] = rest as [number, number, string, ...string[]];
      const placements = answers.map((answer) => readAnswer(lotId, epoch, answer));
      return { placements, position: { epoch, seq }, nowMs };
    }
    default:
      throw new Error(`place-bids.lua replied ${status}`);
  }
}

/** Reads the script's answer to one bid, which is also what the store keeps under its key. */
export function readAnswer(lotId: string, lotEpoch: number, answer: string): Placement {
  const [status, ...values] = answer.split(" ");
  switch (status) {
    case "accepted": {
      const [amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor] = values;
      return {
        outcome: status,
        bidId: bidId!,
        lotId,
        amountMinor: Number(amountMinor),
        epoch: Number(epoch),
        seq: Number(seq),
        placedAtMs: Number(placedAtMs),
        closesAtMs: Number(closesAtMs),
        minimumMinor: Number(minimumMinor),
      };
    }
    case "withdrawn":
    case "closed":
    case "suspended":
    case "not_open":
    case "too_low":
    case "too_high":
    case "jump_too_large": {
      const [minimumMinor, maximumMinor, seq] = values.map(Number) as [number, number, number];
      return { outcome: status, minimumMinor, maximumMinor, epoch: lotEpoch, seq };
    }
    case "key_reused":
      return { outcome: status };
    case "full":
      return { outcome: "unavailable", why: status };
    default:
      throw new Error(`place-bids.lua answered ${answer}`);
  }
}

/** The answer that the store keeps under the key of an accepted bid; `readAnswer` reads it. */
export function writeAnswer(accepted: Accepted): string {
  const { amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor } = accepted;
  const values = [amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs, minimumMinor];
  return ["accepted", ...values].join(" ");
}
