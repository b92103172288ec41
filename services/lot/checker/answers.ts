/** What clients were answered about one lot, against its log. */
import type { BidAccepted, LotEvent } from "../events.ts";
import type { AcceptedBid, BidRecord, ReadRecord, RejectedBid, UnknownBid } from "./history.ts";
import { Order } from "./order.ts";
import { type Clock, judgeRejection, type Evidence } from "./rejections.ts";
import type { Timeline } from "./timeline.ts";
import type { VerdictName, Verdicts } from "./verdicts.ts";

interface AnswerOptions {
  /** The history holds every bid that anybody sent, so that a bid without a sender is a phantom. */
  readonly complete: boolean;
  readonly clock: Clock | null;
  readonly steadyClock: boolean;
  /** When all intake ended for good, by Redis's clock; null: it did not, or nobody says so. */
  readonly fencedAtMs: number | null;
  /** For how long a key is remembered, at least. */
  readonly keyWindowMs: number;
}

// What is known of a bid of the log, as bits.
const SENT = 1;
const ACKNOWLEDGED = 2;
const SENT_DIFFERENTLY = 4;
const REFUSED = 8;
const REJECTED = 16;

const WITHIN_STEP = "judged between a bid and its extension, which are one step";

export class Answers {
  readonly timeline: Timeline;
  readonly order: Order;
  /** Distinct bids that were acknowledged, and are in the log. */
  acknowledged = 0;
  #byId = new Map<string, number>();
  #byKey = new Map<string, number>();
  /** Keys with more than one bid: all log indexes. */
  #repeatedKeys = new Map<string, number[]>();
  /** By log index. */
  readonly #known: Uint8Array;
  readonly #sentMs: Float64Array;
  readonly #sent: (BidRecord | undefined)[];
  /** By log index: a record of its key that did not place it. */
  #otherRecords = new Map<number, BidRecord>();
  #lost = new Set<string>();
  /** Keys of unknown fate, and whether they were answered later. */
  #unknown = new Map<string, boolean>();
  /** Evidence anew though their key has a bid. */
  #rejudged: { logIndex: number; record: RejectedBid; from: number }[] = [];
  readonly #evidence: Evidence;
  readonly #options: AnswerOptions;
  readonly #verdicts: Verdicts;

  constructor(timeline: Timeline, options: AnswerOptions, verdicts: Verdicts) {
    const size = timeline.end + 1;
    this.timeline = timeline;
    this.order = new Order(timeline);
    this.#evidence = { timeline, order: this.order, ...options };
    this.#known = new Uint8Array(size);
    this.#sentMs = new Float64Array(size).fill(Infinity);
    this.#sent = new Array<BidRecord | undefined>(size);
    this.#options = options;
    this.#verdicts = verdicts;
    for (const [at, event] of timeline.events.entries()) {
      if (event.type === "bid_accepted") this.#index(event, at + 1);
    }
  }

  get lost(): number {
    return this.#lost.size;
  }

  get unknown(): { resolved: number; unresolved: number } {
    let resolved = 0;
    for (const [key, isAnswered] of this.#unknown) {
      const logIndex = this.#byKey.get(key);
      const isAcknowledged = logIndex !== undefined && this.#known[logIndex]! & ACKNOWLEDGED;
      if (isAnswered || isAcknowledged || this.#lost.has(key)) resolved++;
    }
    return { resolved, unresolved: this.#unknown.size - resolved };
  }

  #index(event: BidAccepted, logIndex: number): void {
    const other = this.#byId.get(event.bidId);
    if (other === undefined) this.#byId.set(event.bidId, logIndex);
    else this.#add("bid_twice", `bid ${event.bidId} stands here, too`, [event, this.#event(other)]);
    const key = keyOf(event);
    const first = this.#byKey.get(key);
    if (first === undefined) {
      this.#byKey.set(key, logIndex);
      return;
    }
    const all = this.#repeatedKeys.get(key) ?? [first];
    const latest = this.#event(all.at(-1)!);
    this.#repeatedKeys.set(key, [...all, logIndex]);
    if (other === undefined && event.atMs - latest.atMs < this.#options.keyWindowMs) {
      this.#add("key_twice", `key ${event.key} of ${event.bidderId}`, [event, latest]);
    }
  }

  bid(record: BidRecord): void {
    switch (record.outcome) {
      case "accepted":
        return this.#accepted(record);
      case "unknown":
        return this.#unanswered(record);
      case "rejected":
        return this.#rejected(record);
      case "refused":
        for (const logIndex of this.#placedUnder(keyOf(record))) {
          this.#mark(logIndex, REFUSED, record);
        }
    }
  }

  #accepted(record: AcceptedBid): void {
    const key = keyOf(record);
    const logIndex = this.#byId.get(record.bidId);
    if (logIndex === undefined) {
      const [under] = this.#placedUnder(key);
      if (under !== undefined) {
        const event = this.#event(under);
        this.#mark(under, SENT_DIFFERENTLY, record);
        this.#add("answers_differ", `the log has ${event.bidId} under this key`, [record, event]);
      } else if (!this.#lost.has(key)) {
        this.#lost.add(key);
        this.#add("lost", `bid ${record.bidId} was acknowledged`, [record]);
      }
      return;
    }
    this.#compare(record, this.#event(logIndex));
    if (!(this.#known[logIndex]! & ACKNOWLEDGED)) this.acknowledged++;
    this.#send(logIndex, ACKNOWLEDGED, record);
    this.order.notAfter(logIndex, record.retMs, "acknowledged", record);
  }

  #compare(record: AcceptedBid, event: BidAccepted): void {
    if (record.epoch !== event.epoch || record.seq !== event.seq) {
      const detail = `acknowledged as ${record.epoch}.${record.seq}, it is ${event.epoch}.${event.seq}`;
      this.#add("moved", detail, [record, event]);
    }
    const differing =
      record.amountMinor !== event.amountMinor
        ? "amountMinor"
        : record.bidderId !== event.bidderId
          ? "bidderId"
          : record.key !== event.key
            ? "key"
            : record.closesAtMs !== event.closesAtMs
              ? "closesAtMs"
              : record.minimumMinor !== event.minimumMinor
                ? "minimumMinor"
                : record.placedAtMs !== event.atMs
                  ? "placedAtMs"
                  : null;
    if (differing === null) return;
    const logged = differing === "placedAtMs" ? event.atMs : event[differing];
    const detail = `${differing} is ${logged} in the log, and was ${record[differing]}`;
    this.#add("altered", detail, [record, event]);
  }

  #unanswered(record: UnknownBid): void {
    const key = keyOf(record);
    if (!this.#unknown.has(key)) this.#unknown.set(key, false);
    for (const logIndex of this.#placedUnder(key)) {
      const isSameBid = this.#event(logIndex).amountMinor === record.amountMinor;
      if (isSameBid) this.#send(logIndex, SENT, record);
      else this.#mark(logIndex, SENT_DIFFERENTLY, record);
    }
  }

  #send(logIndex: number, what: number, record: AcceptedBid | UnknownBid): void {
    this.#known[logIndex]! |= SENT | what;
    if (record.invMs >= this.#sentMs[logIndex]!) return;
    this.#sentMs[logIndex] = record.invMs;
    this.#sent[logIndex] = record;
  }

  #mark(logIndex: number, what: number, record: BidRecord): void {
    this.#known[logIndex]! |= what;
    this.#otherRecords.set(logIndex, record);
  }

  #rejected(record: RejectedBid): void {
    const key = keyOf(record);
    if (this.#unknown.has(key)) this.#unknown.set(key, true);
    const placed = this.#placedUnder(key);
    if (record.code === "key_reused") return this.#keyReused(record, placed);
    for (const logIndex of placed) this.#mark(logIndex, REJECTED, record);
    const logIndex = this.#indexOf(record);
    if (logIndex === undefined) return;
    const from = judgeRejection(this.#evidence, record, logIndex);
    if (typeof from === "string") this.#add("wrong_rejection", `${record.code}: ${from}`, [record]);
    else for (const logIndex of placed) this.#rejudged.push({ logIndex, record, from });
  }

  #keyReused(record: RejectedBid, placed: readonly number[]): void {
    const logIndex = placed.find((at) => this.#event(at).amountMinor !== record.amountMinor);
    if (logIndex === undefined) {
      const why = "no bid has this key and another amount";
      return this.#add("wrong_rejection", `${record.code}: ${why}`, [record]);
    }
    this.order.notAfter(logIndex, record.retMs, "seen", record);
    const at = this.#indexOf(record);
    if (typeof at !== "number") return;
    this.order.seenAt(at, record.invMs, record.retMs, record);
    if (at >= logIndex) return;
    this.#add("wrong_rejection", `${record.code}: judged before a bid had this key`, [record]);
  }

  /** Null if the answer does not say; undefined where the log has no such event. */
  #indexOf(record: RejectedBid): number | null | undefined {
    const { epoch, seq } = record;
    if (epoch === undefined || seq === undefined) return null;
    const logIndex = this.timeline.indexOf(epoch, seq);
    if (logIndex !== null) {
      if (!this.timeline.isWithinStep(logIndex)) return logIndex;
      this.#add("wrong_rejection", `${record.code}: ${WITHIN_STEP}`, [record]);
      return undefined;
    }
    this.#add("no_such_event", `${epoch}.${seq} is not in the log`, [record]);
    return undefined;
  }

  read(record: ReadRecord): void {
    const { timeline } = this;
    const logIndex = timeline.indexOf(record.epoch, record.seq);
    if (logIndex === null) {
      const detail = `${record.epoch}.${record.seq} is not in the log`;
      return this.#add("no_such_event", detail, [record]);
    }
    if (timeline.isWithinStep(logIndex)) return this.#add("wrong_read", WITHIN_STEP, [record]);
    this.order.seenAt(logIndex, record.invMs, record.retMs, record);
    const leading = timeline.leadingBid(logIndex);
    const [amountMinor, bidId] = [leading?.amountMinor ?? null, leading?.bidId ?? null];
    const status = timeline.status[logIndex]!;
    if (record.leadingMinor === amountMinor && record.bidId === bidId && record.status === status) {
      return;
    }
    const stood = `${status}, ${bidId ?? "no bid"} leading with ${amountMinor}`;
    this.#add("wrong_read", `at ${record.epoch}.${record.seq} the lot was ${stood}`, [record]);
  }

  /** When all records were given. */
  finish(): void {
    for (const [at, event] of this.timeline.events.entries()) {
      if (event.type !== "bid_accepted") continue;
      const logIndex = at + 1;
      const sent = this.#sent[logIndex];
      if (sent) this.order.notBefore(logIndex, sent.invMs, "sent", sent);
      else if (this.#options.complete) this.#unsent(logIndex, event);
    }
    this.#expectKeysRemembered();
    const placed = this.order.placeEvents(this.#verdicts);
    if (this.#options.clock) this.#checkTimes(this.#options.clock, placed);
  }

  /** While its key is remembered, a bid is judged anew only before it was accepted. */
  #expectKeysRemembered(): void {
    for (const { logIndex, record, from } of this.#rejudged) {
      if (!(record.retMs - this.#sentMs[logIndex]! < this.#options.keyWindowMs)) continue;
      this.order.notBefore(logIndex, record.invMs, "key", record);
      if (from < logIndex) continue;
      const event = this.#event(logIndex);
      const detail = `${record.code}: judged after ${event.epoch}.${event.seq}, which has its key`;
      this.#add("key_forgotten", detail, [record, event]);
    }
  }

  #unsent(logIndex: number, event: BidAccepted): void {
    const known = this.#known[logIndex]!;
    const otherRecord = this.#otherRecords.get(logIndex);
    const name: VerdictName =
      known & SENT_DIFFERENTLY
        ? "altered"
        : known & REFUSED
          ? "refused_recorded"
          : known & REJECTED
            ? "rejected_recorded"
            : "phantom";
    // An acknowledgement that differs was reported already.
    if (name === "altered" && otherRecord?.op === "bid" && otherRecord.outcome === "accepted")
      return;
    const detail = `${event.epoch}.${event.seq}: bid ${event.bidId}`;
    this.#add(name, detail, otherRecord ? [event, otherRecord] : [event]);
  }

  #checkTimes({ offsetMs, errorMs }: Clock, placed: Float64Array): void {
    for (const [at, event] of this.timeline.events.entries()) {
      const record = this.#sent[at + 1];
      if (event.type !== "bid_accepted" || !record) continue;
      const earliestMs = placed[at + 1]! + offsetMs - errorMs - 1; // Redis's clock is cut to whole ms
      const latestMs = this.order.untilOf(at + 1) + offsetMs + errorMs;
      const atLeastMs = this.timeline.events[at - 1]?.atMs ?? 0;
      if (event.atMs > earliestMs && event.atMs <= Math.max(latestMs, atLeastMs)) continue;
      const detail = `${event.epoch}.${event.seq}: ${event.atMs} is not within ${earliestMs} to ${latestMs}`;
      this.#add("wrong_time", detail, [event, record]);
    }
  }

  #event(logIndex: number): BidAccepted {
    return this.timeline.events[logIndex - 1] as BidAccepted;
  }

  #placedUnder(key: string): readonly number[] {
    const first = this.#byKey.get(key);
    return first === undefined ? [] : (this.#repeatedKeys.get(key) ?? [first]);
  }

  #add(name: VerdictName, detail: string, records: readonly (BidRecord | ReadRecord | LotEvent)[]) {
    this.#verdicts.add(name, this.timeline.lotId, detail, records);
  }
}

/** A key holds no space or control character, so the two cannot run into one another. */
const keyOf = ({ bidderId, key }: { readonly bidderId: string; readonly key: string }): string =>
  `${key}\n${bidderId}`;
