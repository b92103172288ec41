/** What operators are told of a bid, the same at both edges: its span, and a line where it was not accepted. */
import type { Attributes, Span, Tracing } from "../runtime/tracing.ts";
import { type Logger, SampledLog, traceIds } from "../runtime/log.ts";
import type { Placement } from "../store/place-bids.ts";

/** A bid at its edge: before the batcher, and after its answer. */
export interface BidSpan {
  readonly name: string;
  /** W3C's, as the caller sent it. */
  readonly traceparent: string | undefined;
  readonly attributes: Attributes;
}

export interface AnsweredBid {
  /** Empty for one that was refused before it had an id. */
  readonly bidId: string;
  readonly lotId: string;
  /** What became of it, in a word. */
  readonly outcome: string;
  readonly tookMs: number;
  /** Whether the answer was our fault: 500 and above. */
  readonly failed: boolean;
}

/** Lines a second of one kind: a crowd that bids too low would fill a disk. */
const LINES_PER_SECOND = 5;

export class TellBids {
  readonly #tracing: Tracing | null;
  readonly #log: SampledLog;

  constructor(tracing: Tracing | null, log: Logger) {
    this.#tracing = tracing;
    this.#log = new SampledLog(log, LINES_PER_SECOND);
  }

  get traces(): boolean {
    return this.#tracing !== null;
  }

  begin({ name, traceparent, attributes }: BidSpan): Span | null {
    return this.#tracing?.begin(name, traceparent, attributes) ?? null;
  }

  /** Whether `end` would tell anything: most bids are neither traced nor slow nor failed. */
  tells(span: Span | null, { tookMs, failed }: Pick<AnsweredBid, "tookMs" | "failed">): boolean {
    return this.#tracing !== null && (span !== null || failed || tookMs > this.#tracing.slowMs);
  }

  /** @param more known only now */
  end(span: Span | null, begun: BidSpan, bid: AnsweredBid, more: Attributes = {}): void {
    const { bidId, lotId, outcome, tookMs, failed } = bid;
    const attributes = {
      ...more,
      "gavel.lot.id": lotId,
      "gavel.bid.outcome": outcome,
      ...(bidId === "" ? null : { "gavel.bid.id": bidId }),
    };
    const failure = failed ? outcome : null;
    if (span !== null) return this.#tracing!.finish(span, attributes, failure);
    const all = { ...begun.attributes, ...attributes };
    this.#tracing?.afterwards(begun.name, begun.traceparent, tookMs, all, failure);
  }

  /** The line of a bid that the batcher answered. */
  line(bidId: string, lotId: string, placement: Placement, span: Span | null): void {
    const { outcome } = placement;
    const isDecided = outcome !== "unavailable" && outcome !== "unknown";
    const level = outcome === "accepted" ? "debug" : isDecided ? "info" : "warn";
    if (!this.#log.enabled(level)) return;
    const why = outcome === "unavailable" ? { why: placement.why } : null;
    const fields = { lotId, bidId, outcome, ...why, ...traceIds(span) };
    if (level === "debug") this.#log.debug(fields, "a bid was accepted");
    else if (level === "info") this.#log.info(fields, "a bid was rejected");
    else this.#log.warn(fields, "a bid was not decided");
  }
}
