/** The trace span of a bid over HTTP, from its headers to the end of the answer. */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { BidSpanStart, BidReporter } from "../access/bid-reporter.ts";
import type { Span } from "../runtime/tracing.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Null if the request is not traced. */
    span: Span | null;
    /** Empty before the bid reaches the batcher. */
    bidId: string;
    /** The outcome of the bid; empty where the batcher did not get it. */
    outcome: string;
  }
}

type Done = () => void;

/** The first and the last hook of the route. */
export function traceBid(reporter: BidReporter, method: string, route: string) {
  const name = `${method} ${route}`;
  const attributes = { "http.request.method": method, "http.route": route, "url.scheme": "http" };
  const spanStartOf = (request: FastifyRequest): BidSpanStart => {
    const { traceparent } = request.headers;
    return { name, attributes, traceparent: traceparent as string | undefined };
  };
  return {
    begin(request: FastifyRequest, _reply: FastifyReply, done: Done): void {
      request.span = reporter.begin(spanStartOf(request));
      done();
    },
    end(request: FastifyRequest, reply: FastifyReply, done: Done): void {
      const { statusCode, elapsedTime: tookMs } = reply;
      const failed = statusCode >= 500;
      if (reporter.shouldReport(request.span, { tookMs, failed })) {
        const { lotId = "" } = request.params as { lotId?: string };
        const outcome = request.outcome || String(statusCode);
        const bid = { bidId: request.bidId, lotId, outcome, tookMs, failed };
        reporter.end(request.span, spanStartOf(request), bid, {
          "url.path": request.url.split("?", 1)[0],
          "http.response.status_code": statusCode,
        });
      }
      done();
    },
  };
}
