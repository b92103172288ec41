/** Reports each bid to operators, the same in gateway and broadcast: its span and its log line. */
import type { Attributes, Span, Tracing } from "../runtime/tracing.ts";
import { type Logger, SampledLog, traceIds } from "../runtime/log.ts";
import type { Placement } from "../store/place-bids.ts";

/** What is known of a bid when its span begins. */
export interface BidSpanStart {
  readonly name: string;
  /** W3C header, as the caller sent it. */
  readonly traceparent: string | undefined;
  readonly attributes: Attributes;
}

interface AnsweredBid {
  /** Empty for a bid that was refused before it had an id. */
  readonly bidId: string;
  readonly lotId: string;
  /** The outcome of its placement, or the code of the problem. */
  readonly outcome: string;
  readonly tookMs: number;
  /** Whether the answer was a server error: 500 and above. */
  readonly failed: boolean;
}

/** Lines a second of each message: a crowd that bids too low would fill a disk. */
const LINES_PER_SECOND = 5;

export class BidReporter {
  readonly #tracing: Tracing | null;
  readonly #log: SampledLog;

  constructor(tracing: Tracing | null, log: Logger) {
    this.#tracing = tracing;
    this.#log = new SampledLog(log, LINES_PER_SECOND);
  }

  get isTracing(): boolean {
    return this.#tracing !== null;
  }

  begin({ name, traceparent, attributes }: BidSpanStart): Span | null {
    return this.#tracing?.begin(name, traceparent, attributes) ?? null;
  }

  /** Whether `end` would record anything: most bids are neither sampled nor slow nor failed. */
  shouldReport(
    span: Span | null,
    { tookMs, failed }: Pick<AnsweredBid, "tookMs" | "failed">,
  ): boolean {
    return this.#tracing !== null && (span !== null || failed || tookMs > this.#tracing.slowMs);
  }

  /** @param extraAttributes those that are known only now */
  end(
    span: Span | null,
    begun: BidSpanStart,
    bid: AnsweredBid,
    extraAttributes: Attributes = {},
  ): void {
    const { bidId, lotId, outcome, tookMs, failed } = bid;
    const attributes = {
      ...extraAttributes,
      "gavel.lot.id": lotId,
      "gavel.bid.outcome": outcome,
      ...(bidId === "" ? null : { "gavel.bid.id": bidId }),
    };
    const failure = failed ? outcome : null;
    if (span !== null) return this.#tracing!.finish(span, attributes, failure);
    const all = { ...begun.attributes, ...attributes };
    this.#tracing?.afterwards(begun.name, begun.traceparent, tookMs, all, failure);
  }

  /** Logs a bid that the batcher answered. */
  log(bidId: string, lotId: string, placement: Placement, span: Span | null): void {
    const { outcome } = placement;
    const isDecided = outcome !== "unavailable" && outcome !== "unknown";
    const level = outcome === "accepted" ? "debug" : isDecided ? "info" : "warn";
    if (!this.#log.enabled(level)) return;
    const why = outcome === "unavailable" ? { why: placement.why } : null;
    const fields = { lotId, bidId, outcome, ...why, ...traceIds(span) };
    if (level === "debug") this.#log.debug(fields, "bid accepted");
    else if (level === "info") this.#log.info(fields, "bid rejected");
    else this.#log.warn(fields, "bid not decided");
  }
}
