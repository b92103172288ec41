/**
 * Whether a lot's events, in the order of their seq, can have happened within the times at which clients
 * sent bids and got answers (linearizability). As seq gives the order, nothing is searched: each event
 * has a time that it cannot have happened before and one that it cannot have happened after. Each is
 * placed as early as it may be; that is optimal, as every lower bound is carried forward and every upper
 * one only checked. So a verdict is always right, and there is none only if an order exists.
 *
 * A bid bounds its event by when it was sent and acknowledged. An answer judged at log index k came after
 * event k and before event k + 1: k is not after its `retMs`, k + 1 not before its `invMs`.
 *
 * Answers are also bounded by two moments that no event records: when Redis's clock passed the opening, and
 * when it passed the close.
 */
import type { Offender, Verdicts } from "./verdicts.ts";
import type { Timeline } from "./timeline.ts";

/** Why an event cannot have happened earlier. */
type Since = "sent" | "seen" | "key";
/** Why it cannot have happened later. */
type Until = "acknowledged" | "seen";

interface Bound {
  readonly why: Since | Until;
  readonly record: Offender;
}

export class Order {
  /** The log index that stands for the clock passing the opening. */
  readonly opening = 0;
  /** The log index that stands for the clock passing the close. */
  readonly over: number;
  readonly #timeline: Timeline;
  readonly #since: Float64Array;
  readonly #until: Float64Array;
  readonly #sinceBy: (Bound | undefined)[];
  readonly #untilBy: (Bound | undefined)[];

  constructor(timeline: Timeline) {
    const size = timeline.end + 2;
    this.#timeline = timeline;
    this.over = timeline.end + 1;
    this.#since = new Float64Array(size).fill(-Infinity);
    this.#until = new Float64Array(size).fill(Infinity);
    this.#sinceBy = new Array<Bound | undefined>(size);
    this.#untilBy = new Array<Bound | undefined>(size);
  }

  notBefore(logIndex: number, ms: number, why: Since, record: Offender): void {
    if (!(ms > this.#since[logIndex]!)) return;
    this.#since[logIndex] = ms;
    this.#sinceBy[logIndex] = { why, record };
  }

  notAfter(logIndex: number, ms: number, why: Until, record: Offender): void {
    if (!(ms < this.#until[logIndex]!)) return;
    this.#until[logIndex] = ms;
    this.#untilBy[logIndex] = { why, record };
  }

  /** The latest that an event can have happened, by what clients saw. */
  untilOf(logIndex: number): number {
    return this.#until[logIndex]!;
  }

  /** An answer judged at a log index. */
  seenAt(logIndex: number, invMs: number, retMs: number, record: Offender): void {
    if (logIndex > 0) this.notAfter(logIndex, retMs, "seen", record);
    if (logIndex < this.#timeline.end) this.notBefore(logIndex + 1, invMs, "seen", record);
  }

  /** Places every event. @returns the earliest time of each log index */
  placeEvents(verdicts: Verdicts): Float64Array {
    const { leading, end } = this.#timeline;
    const placed = new Float64Array(end + 2).fill(-Infinity);
    const lastBid = leading[end]!;
    const beforeAll: Reached = { ms: -Infinity, by: undefined };
    const opened = this.#place(this.opening, beforeAll, verdicts);
    if (lastBid === 0) this.#place(this.over, opened, verdicts);
    // A later bound on the opening or the close also applies to the events after it: nothing to carry forward.
    let at = beforeAll;
    for (let logIndex = 1; logIndex <= end; logIndex++) {
      at = this.#place(logIndex, at, verdicts);
      placed[logIndex] = at.ms;
      if (logIndex === lastBid) this.#place(this.over, at, verdicts);
    }
    return placed;
  }

  #place(logIndex: number, before: Reached, verdicts: Verdicts): Reached {
    const since = this.#since[logIndex]!;
    const until = this.#until[logIndex]!;
    const at = since > before.ms ? { ms: since, by: this.#sinceBy[logIndex] } : before;
    if (at.ms <= until) return at;
    const by = this.#untilBy[logIndex]!;
    this.#report(logIndex, at, until, by, verdicts);
    // It continues as if there were no fault, so that one fault is reported once.
    return { ms: until, by };
  }

  #report(logIndex: number, at: Reached, until: number, by: Bound, verdicts: Verdicts): void {
    const { lotId, events } = this.#timeline;
    const event = events[logIndex - 1];
    const why = at.by!.why;
    const name =
      why === "key"
        ? "key_forgotten"
        : why === "seen"
          ? "stale"
          : by.why === "seen"
            ? "future"
            : "reordered";
    const what =
      event !== undefined
        ? `${event.epoch}.${event.seq}`
        : logIndex === this.opening
          ? "the opening"
          : "the close";
    const detail = `${what} happened by ${until} and not before ${at.ms}`;
    const records = [at.by!.record, by.record, ...(event ? [event] : [])];
    verdicts.add(name, lotId, detail, records);
  }
}

/** A time, and what it comes from. */
interface Reached {
  readonly ms: number;
  readonly by: Bound | undefined;
}
