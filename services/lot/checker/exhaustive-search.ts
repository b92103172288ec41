/**
 * What the checker is held against: a search through every order in which a tiny history may have
 * happened, played against the rules themselves. It knows nothing of bounds: an order is right when each
 * answer is what the rules answer at its turn, real time is respected, and the log is what comes out.
 *
 * Besides the clients' operations, things happen by themselves at any time: Redis's clock passes the
 * opening and the close, and the lot is opened, closed or withdrawn. An operation that was never answered
 * may have its effect at any time after it was sent, or none.
 */
import { decide } from "../decide.ts";
import type { BidAccepted, LotEvent } from "../events.ts";
import { apply, due } from "../lifecycle.ts";
import type { Lot } from "../lot.ts";
import type { BidRecord, HistoryRecord, ReadRecord } from "./history.ts";

type Operation = BidRecord | ReadRecord;

/** Of Redis's clock: before the opening, between, from the close on. */
const PHASES = 3;
const EVENTS_MAX = 64;

/** Whether some order explains the history and the log. One lot; at most 20 operations. */
export function canHaveHappened(
  lot: Lot,
  history: readonly HistoryRecord[],
  log: readonly LotEvent[],
): boolean {
  if (log.length >= EVENTS_MAX) throw new Error("too long a log to search");
  return new Search(lot, history, log).from(0, 0, 0);
}

class Search {
  readonly #log: readonly LotEvent[];
  readonly #operations: Operation[];
  /** By operation: those that ended before it began, as bits. */
  readonly #before: number[];
  /** Operations that were answered, so that they happened. */
  readonly #answered: number;
  /** The lot after so many events of the log. */
  readonly #lots: Lot[];
  /** By log index and phase: whether the next event of the log may happen by itself there. */
  readonly #happens: (boolean | undefined)[] = [];
  /** Places that were tried, and lead nowhere. */
  #dead = new Set<number>();

  constructor(lot: Lot, history: readonly HistoryRecord[], log: readonly LotEvent[]) {
    this.#log = log;
    this.#operations = history.filter((record): record is Operation => {
      return record.op === "read" || (record.op === "bid" && record.outcome !== "refused");
    });
    const ended = (of: Operation) =>
      of.op === "bid" && of.outcome === "unknown" ? Infinity : of.retMs;
    const mask = (wanted: (of: Operation) => boolean) =>
      this.#operations.reduce((bits, of, at) => (wanted(of) ? bits | (1 << at) : bits), 0);
    this.#before = this.#operations.map(({ invMs }) => mask((other) => ended(other) < invMs));
    this.#answered = mask((of) => ended(of) < Infinity);
    this.#lots = [lot];
    for (const event of log) this.#lots.push(apply(this.#lots.at(-1)!, event));
  }

  from(done: number, logIndex: number, phase: number): boolean {
    if (logIndex === this.#log.length && (done & this.#answered) === this.#answered) return true;
    const place = (done * EVENTS_MAX + logIndex) * PHASES + phase;
    if (this.#dead.has(place)) return false;
    const isPossible =
      (phase < PHASES - 1 && this.from(done, logIndex, phase + 1)) ||
      (this.#happensByItself(logIndex, phase) && this.from(done, logIndex + 1, phase)) ||
      this.#operations.some((_, at) => this.#next(done, logIndex, phase, at));
    if (!isPossible) this.#dead.add(place);
    return isPossible;
  }

  #happensByItself(logIndex: number, phase: number): boolean {
    return (this.#happens[logIndex * PHASES + phase] ??= this.#mayHappen(logIndex, phase));
  }

  #mayHappen(logIndex: number, phase: number): boolean {
    const event = this.#log[logIndex];
    const lot = this.#lots[logIndex]!;
    if (!event || event.type === "bid_accepted" || event.type === "lot_extended") return false;
    if (event.type === "lot_withdrawn") {
      const isOver = lot.status === "closed" || lot.status === "withdrawn";
      return !isOver && event.seq === lot.seq + 1 && event.atMs >= lot.atMs;
    }
    if (phase < (event.type === "lot_opened" ? 1 : 2)) return false;
    return same(event, due(lot, event.atMs)[0]);
  }

  #next(done: number, logIndex: number, phase: number, at: number): boolean {
    const bit = 1 << at;
    if (done & bit || (this.#before[at]! & ~done) !== 0) return false;
    const operation = this.#operations[at]!;
    if (operation.op === "read") {
      return this.#isRead(operation, logIndex) && this.from(done | bit, logIndex, phase);
    }
    const earlier = this.#underKey(operation, logIndex);
    if (operation.outcome === "accepted") {
      if (earlier) {
        return isAnswer(operation, earlier) && this.from(done | bit, logIndex, phase);
      }
      const event = this.#log[logIndex];
      if (event?.type !== "bid_accepted" || !isAnswer(operation, event)) return false;
    }
    if (operation.outcome === "rejected") {
      const code = earlier && earlier.amountMinor !== operation.amountMinor ? "key_reused" : null;
      const isRight = earlier
        ? operation.code === code
        : this.#isRejected(operation, logIndex, phase);
      return isRight && this.from(done | bit, logIndex, phase);
    }
    if (earlier || phase !== 1) return false;
    const events = this.#accepts(operation, logIndex);
    return events > 0 && this.from(done | bit, logIndex + events, phase);
  }

  /** How many events the log has of this bid's acceptance here; 0 when it is not what comes next. */
  #accepts({ bidderId, key, amountMinor }: BidRecord, logIndex: number): number {
    const event = this.#log[logIndex];
    if (event?.type !== "bid_accepted") return 0;
    const { bidId, atMs } = event;
    const isFresh =
      this.#log.findIndex((other) => "key" in other && other.bidId === bidId) === logIndex;
    const decision = decide(this.#lots[logIndex]!, { bidId, bidderId, key, amountMinor }, atMs);
    if (!isFresh || !decision.accepted) return 0;
    const { events } = decision;
    return events.every((made, at) => same(made, this.#log[logIndex + at])) ? events.length : 0;
  }

  #underKey({ key, bidderId }: BidRecord, logIndex: number): BidAccepted | undefined {
    for (let at = 0; at < logIndex; at++) {
      const event = this.#log[at]!;
      if (event.type === "bid_accepted" && event.key === key && event.bidderId === bidderId) {
        return event;
      }
    }
    return undefined;
  }

  #isRejected(bid: BidRecord & { outcome: "rejected" }, logIndex: number, phase: number): boolean {
    const lot = this.#lots[logIndex]!;
    const clockMs = [lot.opensAtMs! - 1, lot.opensAtMs!, lot.closesAtMs!][phase]!;
    const decision = decide(lot, { ...bid, bidId: "" }, clockMs);
    return (
      !decision.accepted &&
      decision.rejection === bid.code &&
      (bid.minimumMinor === undefined || bid.minimumMinor === decision.minimumMinor) &&
      (bid.seq === undefined || (bid.seq === lot.seq && bid.epoch === lot.epoch))
    );
  }

  #isRead({ epoch, seq, status, bidId, leadingMinor }: ReadRecord, logIndex: number): boolean {
    const lot = this.#lots[logIndex]!;
    return (
      lot.epoch === epoch &&
      lot.seq === seq &&
      lot.status === status &&
      (lot.leadingBid?.bidId ?? null) === bidId &&
      (lot.leadingBid?.amountMinor ?? null) === leadingMinor
    );
  }
}

function isAnswer(record: BidRecord & { outcome: "accepted" }, event: BidAccepted): boolean {
  return (
    record.placedAtMs === event.atMs &&
    record.bidId === event.bidId &&
    record.bidderId === event.bidderId &&
    record.key === event.key &&
    record.amountMinor === event.amountMinor &&
    record.epoch === event.epoch &&
    record.seq === event.seq &&
    record.closesAtMs === event.closesAtMs &&
    record.minimumMinor === event.minimumMinor
  );
}

function same(a: LotEvent, b: LotEvent | undefined): boolean {
  if (b === undefined || a.type !== b.type || a.seq !== b.seq) return false;
  for (const field in a)
    if (a[field as keyof LotEvent] !== b[field as keyof LotEvent]) return false;
  return true;
}
