/**
 * A lot's log judged by itself, and how the lot stood after each of its events. Log index k is after k
 * events; 0 is before the first.
 */
import { decide, type Rejection } from "../decide.ts";
import type { BidAccepted, LotClosed, LotEvent, LotExtended, LotOpened } from "../events.ts";
import { minimumBidMinor } from "../increments.ts";
import { apply, result } from "../lifecycle.ts";
import type { Lot, LotStatus } from "../lot.ts";
import { compare } from "../position.ts";
import type { Terms } from "../terms.ts";
import type { Verdicts } from "./verdicts.ts";

export class Timeline {
  readonly lotId: string;
  /** By epoch and seq, no two alike. Log index k is after `events[k - 1]`. */
  readonly events: readonly LotEvent[];
  /** The least that the next bid may be; NaN where that is not known. */
  readonly minimum: Float64Array;
  /** The log index of the leading bid; 0 without one. */
  readonly leading: Int32Array;
  /** NaN where the log does not say. */
  readonly closes: Float64Array;
  readonly bidCount: Int32Array;
  readonly extensions: Int32Array;
  readonly status: LotStatus[];
  /** Where the seller first moved the close, so that the lot may have been over and gone on; 0: never. */
  sellerMovedAt = 0;
  /** Where the lot was closed or withdrawn; 0: it was not. */
  endedAt = 0;
  readonly terms: Terms | null;

  constructor(lotId: string, events: readonly LotEvent[], terms: Terms | null) {
    const size = events.length + 1;
    this.lotId = lotId;
    this.events = events;
    this.terms = terms;
    this.minimum = new Float64Array(size).fill(NaN);
    this.leading = new Int32Array(size);
    this.closes = new Float64Array(size).fill(NaN);
    this.bidCount = new Int32Array(size);
    this.extensions = new Int32Array(size);
    this.status = new Array<LotStatus>(size).fill("scheduled");
  }

  get end(): number {
    return this.events.length;
  }

  /** The bid that leads at a log index. */
  leadingBid(logIndex: number): BidAccepted | null {
    const at = this.leading[logIndex]!;
    return at === 0 ? null : (this.events[at - 1] as BidAccepted);
  }

  /** Whether a log index lies between a bid and its extension, which are one step: no viewer or bidder sees that state. */
  isWithinStep(logIndex: number): boolean {
    const next = this.events[logIndex];
    return (
      next?.type === "lot_extended" &&
      this.events[logIndex - 1]?.type === "bid_accepted" &&
      next.extensions > this.extensions[logIndex]!
    );
  }

  /**
   * The log index after event (epoch, seq). An epoch may have begun without an event yet: it stands
   * where the one before it ended. Null if the log has no such event.
   */
  indexOf(epoch: number, seq: number): number | null {
    const { events } = this;
    const guess = events[seq - 1];
    if (guess !== undefined && guess.seq === seq && guess.epoch === epoch) return seq;
    let [low, high] = [0, events.length]; // how many events are at or before (epoch, seq)
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = events[middle]!;
      if (compare(at, { epoch, seq }) <= 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return seq === 0 ? 0 : null;
    const at = events[low - 1]!;
    if (at.epoch === epoch) return at.seq === seq ? low : null;
    return seq >= at.seq ? low : null;
  }
}

/** Judges a lot's log. Without terms, by what the log itself states. */
export function replayLog(
  lotId: string,
  log: readonly LotEvent[],
  terms: Terms | null,
  verdicts: Verdicts,
): Timeline {
  const timeline = new Timeline(lotId, inOrder(lotId, log, verdicts), terms);
  const replay = new Replay(timeline, verdicts);
  for (let at = 0; at < timeline.end; at++) replay.step(at);
  replay.end();
  return timeline;
}

function inOrder(lotId: string, log: readonly LotEvent[], verdicts: Verdicts): LotEvent[] {
  const sorted = log.every((event, at) => at === 0 || compare(log[at - 1]!, event) <= 0)
    ? log
    : log.toSorted(compare);
  const events: LotEvent[] = [];
  let before: LotEvent | undefined;
  for (const event of sorted) {
    const place = `${event.epoch}.${event.seq}`;
    if (before && compare(before, event) === 0) {
      verdicts.add("seq_repeated", lotId, `two events are ${place}`, [event, before]);
      continue;
    }
    const isNext = before ? event.seq === before.seq + 1 : event.seq === 1;
    if (before && event.epoch > before.epoch) {
      const after = `epoch ${event.epoch} begins at ${event.seq}; epoch ${before.epoch} ended at ${before.seq}`;
      if (event.seq <= before.seq) verdicts.add("epoch_overlap", lotId, after, [event, before]);
    } else if (!isNext) {
      const detail = before ? `${place} comes after ${before.seq}` : `the log begins at ${place}`;
      verdicts.add("seq_gap", lotId, detail, before ? [event, before] : [event]);
    }
    if (before && event.atMs < before.atMs) {
      const detail = `${place} happened ${before.atMs - event.atMs} ms before the event before it`;
      verdicts.add("time_backwards", lotId, detail, [event, before]);
    }
    events.push(event);
    before = event;
  }
  return events;
}

/** Terms that decide nothing which a log cannot state itself. */
const NO_TERMS: Terms = {
  startMinor: 0,
  reserveMinor: null,
  rules: {
    increments: [{ fromMinor: 0, stepMinor: 1 }],
    antiSniping: { windowMs: 0, extensionMs: 0, maxExtensions: 0 },
    maxAmountMinor: Number.MAX_SAFE_INTEGER,
    maxJump: null,
    reserveDisclosure: "Hidden",
  },
};

/** The verdict on a bid that was accepted against the rules; for other rejections, the lot had ended. */
const BROKEN_RULES: Partial<Record<Rejection, "above_maximum" | "early_bid">> = {
  too_high: "above_maximum",
  jump_too_large: "above_maximum",
  not_open: "early_bid",
};

class Replay {
  #lot: Lot;
  #stated = NaN;
  /** The extension that the last bid must be followed by. */
  #due: LotExtended | null = null;
  #results = 0;
  #at = 0;
  readonly #timeline: Timeline;
  readonly #verdicts: Verdicts;

  constructor(timeline: Timeline, verdicts: Verdicts) {
    this.#timeline = timeline;
    this.#verdicts = verdicts;
    const { lotId, terms, events } = timeline;
    const first = events[0];
    this.#lot = {
      ...(terms ?? NO_TERMS),
      lotId,
      title: "",
      status: "scheduled",
      intake: "taking",
      opensAtMs: null,
      closesAtMs: null,
      extensions: 0,
      epoch: 0,
      seq: 0,
      atMs: 0,
      leadingBid: null,
      bidCount: 0,
    };
    if (terms) timeline.minimum[0] = minimumBidMinor(terms, null);
    else if (first?.type === "lot_opened") timeline.minimum[0] = first.minimumMinor;
    this.#stated = timeline.minimum[0]!;
    if (first?.type === "lot_opened") timeline.closes[0] = first.closesAtMs;
  }

  step(at: number): void {
    this.#at = at;
    const event = this.#timeline.events[at]!;
    const isExtension = event.type === "lot_extended";
    if (!isExtension) this.#missExtension();
    const { status } = this.#lot;
    const isOver = status === "closed" || status === "withdrawn";
    if (event.type === "lot_closed" && this.#results++ > 0) {
      this.#add("two_results", "a second result", event);
    } else if (isOver) {
      this.#add("after_end", `${event.type} after the lot was ${status}`, event);
    } else this.#judge(event);
    // A reopening would be a second wrong; the lot stays over.
    const after = apply(this.#lot, event);
    this.#lot = isOver && event.type !== "lot_closed" ? { ...after, status } : after;
    this.#write(at + 1, event);
  }

  end(): void {
    this.#missExtension();
  }

  #missExtension(): void {
    if (this.#due === null) return;
    const { epoch, seq, closesAtMs, lotId } = this.#due;
    const detail = `${epoch}.${seq}: no extension to ${closesAtMs}, though the bid before says so`;
    this.#verdicts.add("wrong_close", lotId, detail, [this.#due]);
    this.#due = null;
  }

  #judge(event: LotEvent): void {
    switch (event.type) {
      case "lot_opened":
        return this.#opened(event);
      case "bid_accepted":
        return this.#bid(event);
      case "lot_extended":
        return this.#extended(event);
      case "lot_closed":
        return this.#closed(event);
      case "lot_withdrawn":
    }
  }

  #opened(event: LotOpened): void {
    const { status } = this.#lot;
    if (status !== "scheduled") this.#add("wrong_opening", `the lot was ${status}`, event);
    if (event.atMs < event.opensAtMs) {
      this.#add("wrong_opening", `${event.opensAtMs - event.atMs} ms too early`, event);
    }
    this.#expect("wrong_minimum", event, "minimumMinor", this.#timeline.minimum[0]!);
  }

  #bid(event: BidAccepted): void {
    const { terms } = this.#timeline;
    const lot = this.#lot;
    if (lot.status === "scheduled") {
      return this.#add("early_bid", "the lot had not opened", event);
    }
    if (event.atMs >= lot.closesAtMs!) {
      const detail = `${event.atMs - lot.closesAtMs!} ms after the close in force, ${lot.closesAtMs}`;
      return this.#add("late_bid", detail, event);
    }
    const least = terms ? minimumBidMinor(terms, lot.leadingBid) : this.#stated;
    if (event.amountMinor < least || event.amountMinor <= (lot.leadingBid?.amountMinor ?? 0)) {
      return this.#add("below_minimum", `${event.amountMinor} is below ${least}`, event);
    }
    if (terms) return this.#bidByTerms(event);
    if (event.minimumMinor <= event.amountMinor) {
      this.#add("wrong_minimum", "the next bid need not be higher", event);
    }
    if (event.closesAtMs < lot.closesAtMs!) this.#add("wrong_close", "the close moved back", event);
    this.#dueAfter(event);
  }

  /** By decide() itself, so that nothing of the rules is said twice. */
  #bidByTerms(event: BidAccepted): void {
    const decision = decide(this.#lot, event, event.atMs);
    if (!decision.accepted) {
      const { rejection } = decision;
      return this.#add(BROKEN_RULES[rejection] ?? "after_end", `the rules say ${rejection}`, event);
    }
    const expected = decision.events[0] as BidAccepted;
    this.#expect("wrong_minimum", event, "minimumMinor", expected.minimumMinor);
    this.#expect("wrong_close", event, "closesAtMs", expected.closesAtMs);
    this.#expect("wrong_reserve", event, "reserveMet", expected.reserveMet);
    this.#dueAfter(event);
  }

  #dueAfter({ closesAtMs, lotId, epoch, seq, atMs }: BidAccepted): void {
    const { extensions } = this.#lot;
    if (closesAtMs === this.#lot.closesAtMs) return;
    const common = { lotId, epoch, seq: seq + 1, atMs };
    this.#due = { type: "lot_extended", ...common, closesAtMs, extensions: extensions + 1 };
  }

  #extended(event: LotExtended): void {
    const due = this.#due;
    const lot = this.#lot;
    this.#due = null;
    if (due !== null) {
      this.#expect("wrong_close", event, "closesAtMs", due.closesAtMs);
      this.#expect("wrong_close", event, "extensions", due.extensions);
      this.#expect("wrong_close", event, "atMs", due.atMs);
      return;
    }
    this.#timeline.sellerMovedAt ||= this.#at + 1;
    this.#expect("wrong_close", event, "extensions", lot.extensions);
    if (!(event.closesAtMs > lot.closesAtMs!)) {
      this.#add("wrong_close", `a close may only move later than ${lot.closesAtMs}`, event);
    }
    if (lot.status !== "open") this.#add("wrong_opening", "extended before it opened", event);
  }

  #closed(event: LotClosed): void {
    const { closesAtMs, status } = this.#lot;
    if (status === "scheduled") this.#add("wrong_opening", "closed before it opened", event);
    else if (event.atMs < closesAtMs!) {
      this.#add("closed_early", `${closesAtMs! - event.atMs} ms before the close`, event);
    }
    const expected = result(
      this.#unsold(event) ? { ...this.#lot, reserveMinor: Infinity } : this.#lot,
    );
    for (const field of ["outcome", "bidId", "bidderId", "amountMinor"] as const) {
      if (event[field] === expected[field]) continue;
      const detail = `${field} is ${event[field]}, and must be ${expected[field]}`;
      return this.#add("wrong_result", detail, event);
    }
  }

  /** Without terms, the reserve is known only by what the log says of it. */
  #unsold({ outcome }: LotClosed): boolean {
    const leading = this.#timeline.leadingBid(this.#at);
    if (this.#timeline.terms !== null || leading === null) return false;
    return leading.reserveMet === null ? outcome === "reserve_not_met" : !leading.reserveMet;
  }

  #write(logIndex: number, event: LotEvent): void {
    const { minimum, leading, closes, bidCount, extensions, status, terms } = this.#timeline;
    const lot = this.#lot;
    const isBid = event.type === "bid_accepted";
    if (isBid || event.type === "lot_opened") this.#stated = event.minimumMinor;
    minimum[logIndex] = terms ? minimumBidMinor(terms, lot.leadingBid) : this.#stated;
    leading[logIndex] = isBid ? logIndex : leading[logIndex - 1]!;
    closes[logIndex] = lot.closesAtMs ?? NaN;
    bidCount[logIndex] = lot.bidCount;
    extensions[logIndex] = lot.extensions;
    status[logIndex] = lot.status;
    const isOver = lot.status === "closed" || lot.status === "withdrawn";
    if (isOver) this.#timeline.endedAt ||= logIndex;
  }

  #expect<Field extends string, Value>(
    name: "wrong_minimum" | "wrong_close" | "wrong_reserve",
    event: LotEvent & { readonly [field in Field]: Value },
    field: Field,
    expected: Value,
  ): void {
    if (Object.is(event[field], expected) || Number.isNaN(expected)) return;
    this.#add(name, `${field} is ${event[field]}, and must be ${expected}`, event);
  }

  #add(name: Parameters<Verdicts["add"]>[0], detail: string, event: LotEvent): void {
    const { lotId } = this.#timeline;
    this.#verdicts.add(name, lotId, `${event.epoch}.${event.seq}: ${detail}`, [event]);
  }
}
