/** The route that the product exists for. */
import { randomUUID } from "node:crypto";
import { problemOf } from "../access/problems.ts";
import type { Verify } from "../access/tokens.ts";
import type { Batcher } from "../store/batcher.ts";
import { authenticate } from "./authenticate.ts";
import type { Metrics } from "./metrics.ts";
import { sendProblem } from "./refuse.ts";
import { BidAnswer, BidBody, BidHeaders, LotParams, problemAnswers } from "./schemas.ts";
import type { Server } from "./server.ts";

export interface PlaceBidOptions {
  readonly batcher: Batcher;
  readonly verify: Verify;
  readonly metrics: Metrics;
}

const schema = {
  summary: "Place a bid",
  description:
    "201 means: decided, and on disk. After 503 `unknown` send the same bid with the same key: the answer is the first one's.",
  operationId: "placeBid",
  security: [{ bearer: [] }],
  params: LotParams,
  headers: BidHeaders,
  body: BidBody,
  response: {
    201: { description: "Accepted", content: { "application/json": { schema: BidAnswer } } },
    ...problemAnswers(
      ...(["invalid", "unauthenticated", "forbidden", "unknown_lot", "too_low"] as const),
      ...(["not_open", "closed", "withdrawn", "suspended", "key_reused", "too_large"] as const),
      ...(["unsupported_media_type", "unknown"] as const),
    ),
  },
};

export function placeBidRoute(app: Server, { batcher, verify, metrics }: PlaceBidOptions): void {
  const onRequest = authenticate(verify, "bid");
  app.post("/v1/lots/:lotId/bids", { schema, onRequest }, async (request, reply) => {
    const placement = await batcher.place(request.params.lotId, {
      bidId: randomUUID(),
      bidderId: request.bidderId,
      amountMinor: request.body.amountMinor,
      key: request.headers["idempotency-key"],
    });
    metrics.bid[placement.outcome].inc();
    if (placement.outcome !== "accepted") return sendProblem(reply, problemOf(placement));
    return reply.code(201).send(placement);
  });
}
