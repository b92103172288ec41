/** The spans of one bid, as they should be: from its caller to its row and its viewers. */
import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import type { OtlpReceiver, ReceivedSpan } from "./otlp-receiver.ts";
import { until } from "./until.ts";

/** Somebody who asks for a trace: the parent of what we record. */
export interface Caller {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceparent: string;
}

/** @param flags "01" asks to be sampled */
export function caller(flags = "01"): Caller {
  const [traceId, spanId] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
}

export interface BidTrace {
  readonly server: ReceivedSpan;
  readonly call: ReceivedSpan;
  readonly send: ReceivedSpan;
  readonly take: ReceivedSpan;
  readonly insert: ReceivedSpan;
  /** One of each broadcast process. */
  readonly deliver: readonly ReceivedSpan[];
  /** Of the outbox entry that all after the call are about. */
  readonly outboxId: string;
}

const TEMPLATE = "gavel.{auction}.events.{partition}.{lot}";
const WHOLE_MS = 20_000;

/**
 * Waits for it and checks the tree, and the ids that lead from the answer to the outbox.
 * @param edge name of the span that the bid came in by
 * @param broadcasts how many processes deliver
 */
export async function expectBidTrace(
  { spans: received }: OtlpReceiver,
  { traceId, spanId }: Caller,
  { edge, bidId, lotId, uid }: Readonly<Record<"edge" | "bidId" | "lotId" | "uid", string>>,
  broadcasts = 1,
): Promise<BidTrace> {
  const own = () => received.filter((span) => span.traceId === traceId);
  await until("the trace is whole", () => own().length >= 5 + broadcasts, WHOLE_MS);
  const deliver = own().filter(({ name }) => name === "process outbox");
  const tree = Object.fromEntries(own().map((span) => [span.name, span]));
  expect([Object.keys(tree).length, deliver.length, own().length]).toEqual([
    6,
    broadcasts,
    5 + broadcasts,
  ]);
  const server = tree[edge]!;
  const call = tree["EVALSHA place-bids"]!;
  const send = tree[`send ${TEMPLATE}`]!;
  const take = tree[`process ${TEMPLATE}`]!;
  const insert = tree["INSERT events"]!;
  const all = [server, call, send, take, insert, ...deliver];
  expect(all.map((span) => [span?.name, span?.parentSpanId, span?.kind, span?.failed])).toEqual([
    [edge, spanId, "server", false],
    ["EVALSHA place-bids", server.spanId, "client", false],
    [`send ${TEMPLATE}`, call.spanId, "producer", false],
    [`process ${TEMPLATE}`, send.spanId, "consumer", false],
    ["INSERT events", take.spanId, "client", false],
    ...deliver.map(() => ["process outbox", call.spanId, "consumer", false]),
  ]);
  expect(new Set(all.map(({ resource }) => resource["gavel.auction.uid"]))).toEqual(new Set([uid]));
  for (const { startMs, endMs } of all) {
    expect(endMs).toBeGreaterThanOrEqual(startMs);
    expect(startMs).toBeGreaterThanOrEqual(server.startMs - 5);
  }
  expect(server.attributes).toMatchObject({
    "gavel.bid.id": bidId,
    "gavel.lot.id": lotId,
    "gavel.bid.outcome": "accepted",
  });
  expect(take.attributes["gavel.bid.ids"]).toEqual([bidId]);
  const outboxId = take.attributes["messaging.message.id"] as string;
  for (const { attributes } of [send, ...deliver]) {
    expect(attributes["messaging.message.id"]).toBe(outboxId);
  }
  return { server, call, send, take, insert, deliver, outboxId };
}
