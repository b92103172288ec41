/** What each message of a viewer does. One viewer's messages are taken in their order. */
import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { logFailure, problemOfError } from "../access/problem-edge.ts";
import { type Problem, problem, type ProblemCode, problemOf } from "../access/problems.ts";
import { type BidSpan, BidReporter } from "../access/bid-reporter.ts";
import type { Verify } from "../access/tokens.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Span } from "../runtime/tracing.ts";
import type { Batcher } from "../store/batcher.ts";
import type { Position } from "../lot/position.ts";
import type { Placement, Refusal } from "../store/place-bids.ts";
import type { Hub, SnapshotFlags, Subscription } from "./hub.ts";
import type { MessageOutcome } from "./metrics.ts";
import { type ClientMessage, readMessage } from "./protocol.ts";
import type { Missed, Resume } from "./resume.ts";
import type { StoreClock } from "./store-clock.ts";
import { BACKLOG_MAX_BYTES, Resuming, type Viewer } from "./viewer.ts";

type Message<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;

export interface AnswersParts {
  readonly hub: Hub;
  readonly resume: Resume;
  readonly batcher: Batcher;
  readonly verify: Verify;
  readonly clock: StoreClock;
  readonly log: Logger;
  readonly reporter: BidReporter;
  readonly maxLotsPerSocket: number;
  /** Whether the lots are known. */
  readonly defined: () => boolean;
  readonly onBid: (outcome: Placement["outcome"] | ProblemCode) => void;
  readonly onResume: (result: "recovered" | "snapshot" | "behind") => void;
  readonly onRejected: (reason: "invalid" | "unauthenticated" | "too_many_lots") => void;
  readonly onUnavailable: (why: Refusal) => void;
  /** A defect of ours, answered `internal`. */
  readonly onInternalError: () => void;
  /** For each message, once the last of its answers is written. */
  readonly onMessage: (
    type: ClientMessage["type"] | "invalid",
    outcome: MessageOutcome,
    seconds: number,
  ) => void;
}

/** Missed events are written although they make a viewer fall behind, but not beyond this. */
const RESUME_BACKLOG_BYTES = BACKLOG_MAX_BYTES / 2;

export class Answers {
  readonly #parts: AnswersParts;
  readonly #failures: SampledLog;

  constructor(parts: AnswersParts) {
    this.#parts = parts;
    this.#failures = new SampledLog(parts.log, 1);
  }

  /** Takes one text frame. Whatever it holds, it costs this viewer only. */
  take(viewer: Viewer, text: string): void {
    const startedMs = performance.now();
    const reading = readMessage(text);
    if (!reading.ok) {
      const { field, detail, bid } = reading;
      const invalid = problem("invalid", detail, field === undefined ? {} : { field });
      if (bid) this.#refuse(viewer, bid, invalid);
      else viewer.send({ type: "error", problem: invalid });
      this.#parts.onRejected("invalid");
      viewer.strike();
      this.#answered("invalid", "refused", startedMs);
      return;
    }
    const { message } = reading;
    const outcome = this.#answerSafely(viewer, message);
    if (typeof outcome === "string") this.#answered(message.type, outcome, startedMs);
    else void outcome.then((later) => this.#answered(message.type, later, startedMs));
  }

  /** Answers with a problem whatever is thrown, as the HTTP edge does. Never throws, never rejects. */
  #answerSafely(viewer: Viewer, message: ClientMessage): Answered {
    const fail = (error: unknown) => this.#fail(viewer, message, error);
    try {
      const outcome = this.#answer(viewer, message);
      return typeof outcome === "string" ? outcome : outcome.catch(fail);
    } catch (error) {
      return fail(error);
    }
  }

  #fail(viewer: Viewer, message: ClientMessage, error: unknown): MessageOutcome {
    const why = this.#problemOf(error, message.type);
    if (message.type === "place_bid") return this.#refuse(viewer, message, why);
    viewer.send({ type: "error", problem: why });
    return outcomeOf(why);
  }

  /** The problem of an error, which is logged, and counted where it is a defect. */
  #problemOf(error: unknown, type: ClientMessage["type"]): Problem {
    const why = problemOfError(error);
    logFailure(this.#failures, error, why, { type });
    if (why.code === "internal") this.#parts.onInternalError();
    return why;
  }

  #answered(
    type: ClientMessage["type"] | "invalid",
    outcome: "failed" | "ok" | "refused",
    startedMs: number,
  ): void {
    this.#parts.onMessage(type, outcome, (performance.now() - startedMs) / 1000);
  }

  #answer(viewer: Viewer, message: ClientMessage): Answered {
    switch (message.type) {
      case "authenticate": {
        const judged = this.#authenticate(viewer, message);
        viewer.authenticating = judged;
        return judged;
      }
      case "subscribe":
        return worstOf(
          message.lots.map((lotId) => this.#watch(viewer, lotId, message.since?.[lotId])),
        );
      case "unsubscribe":
        for (const lotId of message.lots) this.#leave(viewer, lotId);
        viewer.send({ type: "unsubscribed", lots: message.lots });
        return "ok";
      case "place_bid":
        return this.#placeBid(viewer, message);
      case "ping":
        viewer.send({ type: "pong", serverTimeMs: this.#parts.clock.nowMs() });
        return "ok";
    }
  }

  /** The token that came last counts, good or not. Never rejects. */
  async #authenticate(viewer: Viewer, { token }: Message<"authenticate">): Promise<MessageOutcome> {
    const { verify, onRejected } = this.#parts;
    await viewer.authenticating;
    viewer.identity = null;
    try {
      viewer.identity = await verify(token);
    } catch (error) {
      viewer.send({ type: "error", problem: this.#problemOf(error, "authenticate") });
      return "failed";
    }
    if (viewer.identity) {
      const { bidderId, expiresAtMs } = viewer.identity;
      viewer.send({ type: "authenticated", bidderId, expiresAtMs });
      return "ok";
    }
    onRejected("unauthenticated");
    viewer.send({ type: "error", problem: problem("unauthenticated", "The token is not valid.") });
    viewer.strike();
    return "refused";
  }

  #watch(viewer: Viewer, lotId: string, since: Position | undefined): Answered {
    const { hub, resume, maxLotsPerSocket, defined, onRejected } = this.#parts;
    const error = (why: Problem): MessageOutcome => {
      viewer.send({ type: "error", lotId, problem: why });
      return outcomeOf(why);
    };
    if (!viewer.watched.has(lotId) && viewer.watched.size >= maxLotsPerSocket) {
      onRejected("too_many_lots");
      const detail = `A socket may watch ${maxLotsPerSocket} lots.`;
      return error(problem("invalid", detail, { field: "lots" }));
    }
    if (hub.position(lotId) === null) {
      if (!defined()) return error(problem("unavailable", "The auction is not set up yet."));
      return error(problemOf({ outcome: "unknown_lot" }));
    }
    this.#leave(viewer, lotId);
    if (since === undefined) return this.#show(viewer, lotId, {});

    const place = new Resuming();
    viewer.watched.set(lotId, place);
    const wanted = () => viewer.watched.get(lotId) === place;
    // Given up by the viewer meanwhile, it needs no answer.
    let outcome: MessageOutcome = "ok";
    const resumed = resume.lot(lotId, since, wanted, (missed) => {
      if (wanted()) outcome = this.#recover(viewer, lotId, missed);
    });
    return resumed.then(
      () => outcome,
      (reason: unknown) => {
        const why = this.#problemOf(reason, "subscribe");
        if (!wanted()) return outcomeOf(why);
        viewer.watched.delete(lotId);
        return error(why);
      },
    );
  }

  /** In one turn: what was missed, the lot as it stands, and the subscription. */
  #recover(viewer: Viewer, lotId: string, missed: Missed): MessageOutcome {
    if (missed === "behind") {
      this.#parts.onResume("behind");
      viewer.watched.delete(lotId);
      viewer.send({ type: "error", lotId, problem: BEHIND });
      return "failed";
    }
    const recovered = missed !== null && viewer.backlogBytes < RESUME_BACKLOG_BYTES;
    this.#parts.onResume(recovered ? "recovered" : "snapshot");
    if (recovered) viewer.writeAll(missed);
    return this.#show(viewer, lotId, { recovered });
  }

  #show(viewer: Viewer, lotId: string, flags: SnapshotFlags): MessageOutcome {
    const { hub, clock } = this.#parts;
    const subscription = hub.subscribe(lotId, viewer);
    if (subscription === null) {
      viewer.watched.delete(lotId);
      const gone = problemOf({ outcome: "unknown_lot" });
      viewer.send({ type: "error", lotId, problem: gone });
      return outcomeOf(gone);
    }
    viewer.watched.set(lotId, subscription);
    viewer.write(hub.snapshot(lotId, clock.nowMs(), flags), 1);
    return "ok";
  }

  #leave(viewer: Viewer, lotId: string): void {
    const watched = viewer.watched.get(lotId);
    viewer.watched.delete(lotId);
    if (watched && !(watched instanceof Resuming)) this.#parts.hub.unsubscribe(watched);
  }

  /** For a viewer whose socket is gone. */
  leaveAll(viewer: Viewer): void {
    for (const lotId of [...viewer.watched.keys()]) this.#leave(viewer, lotId);
  }

  /** For a viewer that has read its backlog: the lots of which it missed something. */
  catchUp(viewer: Viewer): number {
    const { hub, clock } = this.#parts;
    const frames: Buffer[] = [];
    for (const watched of viewer.watched.values()) {
      if (watched instanceof Resuming) continue;
      const snapshot = hub.conflated(watched satisfies Subscription, clock.nowMs());
      if (snapshot) frames.push(snapshot);
    }
    if (frames.length > 0) viewer.writeAll(frames);
    return frames.length;
  }

  async #placeBid(viewer: Viewer, bid: Message<"place_bid">): Promise<MessageOutcome> {
    const { reporter } = this.#parts;
    if (!reporter.isTracing) return (await this.#decide(viewer, bid, null)).outcome;
    const startedMs = performance.now();
    const begun: BidSpan = { ...STREAM_SPAN, traceparent: bid.traceparent };
    const span = reporter.begin(begun);
    const { outcome, word, bidId } = await this.#decide(viewer, bid, span);
    const tookMs = performance.now() - startedMs;
    const failed = outcome === "failed";
    if (reporter.reports(span, { tookMs, failed })) {
      reporter.end(span, begun, { bidId, lotId: bid.lotId, outcome: word, tookMs, failed });
    }
    return outcome;
  }

  async #decide(
    viewer: Viewer,
    bid: Message<"place_bid">,
    span: Span | null,
  ): Promise<{ outcome: MessageOutcome; word: string; bidId: string }> {
    const { batcher, onBid, onUnavailable, reporter } = this.#parts;
    const { lotId, amountMinor, key } = bid;
    // The close that it is about to get says that no answer means not taken.
    if (viewer.leaving) return { outcome: "failed", word: "leaving", bidId: "" };
    viewer.bidsInFlight++;
    try {
      await viewer.authenticating;
      const refusal = mayBid(viewer);
      if (refusal) {
        return { outcome: this.#refuse(viewer, bid, refusal), word: refusal.code, bidId: "" };
      }

      const { bidderId } = viewer.identity!;
      const offered = { bidId: randomUUID(), bidderId, amountMinor, key };
      const placed = await batcher.place(lotId, offered, span);
      const word = placed.outcome;
      const { bidId } = placed.outcome === "accepted" ? placed : offered;
      reporter.log(bidId, lotId, placed, span);
      if (placed.outcome === "unavailable") onUnavailable(placed.why);
      if (placed.outcome !== "accepted") {
        return { outcome: this.#refuse(viewer, bid, problemOf(placed), word), word, bidId };
      }
      const { outcome, ...answer } = placed;
      onBid(outcome);
      viewer.send({ type: "bid_result", key, accepted: true, ...answer });
      return { outcome: "ok", word, bidId };
    } finally {
      viewer.bidAnswered();
    }
  }

  #refuse(
    viewer: Viewer,
    { key, lotId }: { key: string; lotId: string | null },
    why: Problem,
    outcome: Parameters<AnswersParts["onBid"]>[0] = why.code,
  ): MessageOutcome {
    this.#parts.onBid(outcome);
    viewer.send({ type: "bid_result", key, lotId, accepted: false, problem: why });
    return outcomeOf(why);
  }
}

const STREAM_SPAN = {
  name: "place_bid",
  attributes: { "network.protocol.name": "websocket" },
} as const;

/** Of a message: at once, or when what it waits for is there. Never rejects. */
type Answered = MessageOutcome | Promise<MessageOutcome>;

/** From 500 on it is our fault, as over HTTP. */
const outcomeOf = ({ status }: Problem): MessageOutcome => (status >= 500 ? "failed" : "refused");

function worstOf(all: readonly Answered[]): Answered {
  const said = all.filter((one) => typeof one === "string");
  const worst = (outcomes: readonly MessageOutcome[]): MessageOutcome =>
    (["failed", "refused"] as const).find((one) => outcomes.includes(one)) ?? "ok";
  return said.length === all.length ? worst(said) : Promise.all(all).then(worst);
}

const BEHIND = problem(
  "unavailable",
  "This process cannot show the lot as new as it was seen; subscribe again, here or elsewhere.",
);
const NO_TOKEN = problem("unauthenticated", "Send authenticate first; viewing needs no token.");
const EXPIRED = problem("unauthenticated", "The token has expired; send authenticate again.");
const NO_SCOPE = problem("forbidden", "The token's scope does not hold bid.");

function mayBid({ identity }: Viewer): Problem | null {
  if (identity === null) return NO_TOKEN;
  if (identity.expiresAtMs <= Date.now()) return EXPIRED;
  return identity.scopes.has("bid") ? null : NO_SCOPE;
}
