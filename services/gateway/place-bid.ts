/** POST /v1/lots/:lotId/bids. */
import { randomUUID } from "node:crypto";
import { sendProblem } from "../access/problem-edge.ts";
import { problemOf } from "../access/problems.ts";
import type { BidReporter } from "../access/bid-reporter.ts";
import type { Verify } from "../access/tokens.ts";
import type { Batcher } from "../store/batcher.ts";
import { authenticate } from "./authenticate.ts";
import { BID_ROUTE, type Metrics } from "./metrics.ts";
import { BidAnswer, BidBody, BidHeaders, LotParams, problemAnswers } from "./schemas.ts";
import type { Server } from "./typed-server.ts";
import { traceBid } from "./bid-span.ts";

export interface PlaceBidOptions {
  readonly batcher: Batcher;
  readonly verify: Verify;
  readonly metrics: Metrics;
  readonly reporter: BidReporter;
}

const schema = {
  summary: "Place a bid",
  description:
    "201 means: accepted, and on disk. After 503 `unknown` send the same bid again with the same key: it is placed at most once, and gets the first answer.",
  operationId: "placeBid",
  security: [{ bearer: [] }],
  params: LotParams,
  headers: BidHeaders,
  body: BidBody,
  response: {
    201: { description: "Accepted", content: { "application/json": { schema: BidAnswer } } },
    ...problemAnswers(
      "invalid",
      "unauthenticated",
      "forbidden",
      "unknown_lot",
      "too_low",
      "jump_too_large",
      "not_open",
      "closed",
      "withdrawn",
      "suspended",
      "key_reused",
      "too_large",
      "unsupported_media_type",
      "unknown",
    ),
  },
};

export function placeBidRoute(app: Server, options: PlaceBidOptions): void {
  const { batcher, verify, metrics, reporter } = options;
  const admit = authenticate(verify, "bid");
  const traced = traceBid(reporter, "POST", BID_ROUTE);
  const hooks = reporter.isTracing
    ? { onRequest: [traced.begin, admit], onResponse: traced.end }
    : { onRequest: admit };
  app.post(BID_ROUTE, { schema, ...hooks }, async (request, reply) => {
    const { lotId } = request.params;
    const bid = {
      bidId: randomUUID(),
      bidderId: request.bidderId,
      amountMinor: request.body.amountMinor,
      key: request.headers["idempotency-key"],
    };
    const placement = await batcher.place(lotId, bid, request.span);
    // A repeated key is answered with the bid that was accepted first.
    const { bidId } = placement.outcome === "accepted" ? placement : bid;
    request.bidId = bidId;
    request.outcome = placement.outcome;
    reporter.log(bidId, lotId, placement, request.span);
    metrics.bid[placement.outcome].inc();
    if (placement.outcome === "unavailable") metrics.unavailable[placement.why].inc();
    if (placement.outcome !== "accepted") return sendProblem(reply, problemOf(placement));
    return reply.code(201).send(placement);
  });
}
