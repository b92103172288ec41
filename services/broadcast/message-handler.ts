/** Handles each message of a viewer. Messages of one viewer are handled in their order. */
import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import { logFailure, problemOfError } from "../access/problem-edge.ts";
import { type Problem, problem, type ProblemCode, problemOf } from "../access/problems.ts";
import { type BidSpanStart, BidReporter } from "../access/bid-reporter.ts";
import type { Verify } from "../access/tokens.ts";
import { type Logger, SampledLog } from "../runtime/log.ts";
import type { Span } from "../runtime/tracing.ts";
import type { Batcher } from "../store/batcher.ts";
import type { Position } from "../lot/position.ts";
import type { Placement, UnavailableReason } from "../store/place-bids.ts";
import type { Hub, SnapshotFlags, Subscription } from "./hub.ts";
import type { MessageResult } from "./metrics.ts";
import { type ClientMessage, readMessage } from "./protocol.ts";
import type { MissedFrames, Resume } from "./resume.ts";
import type { StoreClock } from "./store-clock.ts";
import { UNSENT_MAX_BYTES, PendingSubscription, type Viewer } from "./viewer.ts";

type Message<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;

interface Dependencies {
  readonly hub: Hub;
  readonly resume: Resume;
  readonly batcher: Batcher;
  readonly verify: Verify;
  readonly clock: StoreClock;
  readonly log: Logger;
  readonly reporter: BidReporter;
  readonly maxLotsPerSocket: number;
  /** Whether the store has an auction with its lots. */
  readonly defined: () => boolean;
  readonly onBid: (outcome: Placement["outcome"] | ProblemCode) => void;
  readonly onResume: (result: "recovered" | "snapshot" | "behind") => void;
  readonly onRejected: (reason: "invalid" | "unauthenticated" | "too_many_lots") => void;
  readonly onUnavailable: (why: UnavailableReason) => void;
  /** A defect of ours, answered `internal`. */
  readonly onInternalError: () => void;
  /** Called for each message when its last answer is written. */
  readonly onMessage: (
    type: ClientMessage["type"] | "invalid",
    outcome: MessageResult,
    seconds: number,
  ) => void;
}

/** A viewer with more unsent bytes gets a snapshot in place of the events that it missed. */
const RESUME_UNSENT_MAX_BYTES = UNSENT_MAX_BYTES / 2;

export class MessageHandler {
  readonly #dependencies: Dependencies;
  readonly #failures: SampledLog;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#failures = new SampledLog(dependencies.log, 1);
  }

  /** Handles one text frame. Whatever it holds, it affects this viewer only. */
  handle(viewer: Viewer, text: string): void {
    const startedMs = performance.now();
    const reading = readMessage(text);
    if (!reading.ok) {
      const { field, detail, bid } = reading;
      const invalid = problem("invalid", detail, field === undefined ? {} : { field });
      if (bid) this.#refuse(viewer, bid, invalid);
      else viewer.send({ type: "error", problem: invalid });
      this.#dependencies.onRejected("invalid");
      viewer.countError();
      this.#observe("invalid", "refused", startedMs);
      return;
    }
    const { message } = reading;
    const outcome = this.#dispatchSafely(viewer, message);
    if (typeof outcome === "string") this.#observe(message.type, outcome, startedMs);
    else void outcome.then((later) => this.#observe(message.type, later, startedMs));
  }

  /** Answers with a problem, whatever is thrown, as the HTTP tiers do. Never throws, never rejects. */
  #dispatchSafely(viewer: Viewer, message: ClientMessage): Handled {
    const fail = (error: unknown) => this.#fail(viewer, message, error);
    try {
      const outcome = this.#dispatch(viewer, message);
      return typeof outcome === "string" ? outcome : outcome.catch(fail);
    } catch (error) {
      return fail(error);
    }
  }

  #fail(viewer: Viewer, message: ClientMessage, error: unknown): MessageResult {
    const why = this.#problemOf(error, message.type);
    if (message.type === "place_bid") return this.#refuse(viewer, message, why);
    viewer.send({ type: "error", problem: why });
    return outcomeOf(why);
  }

  /** The problem of an error, which is logged, and counted where it is a defect. */
  #problemOf(error: unknown, type: ClientMessage["type"]): Problem {
    const why = problemOfError(error);
    logFailure(this.#failures, error, why, { type });
    if (why.code === "internal") this.#dependencies.onInternalError();
    return why;
  }

  #observe(
    type: ClientMessage["type"] | "invalid",
    outcome: MessageResult,
    startedMs: number,
  ): void {
    this.#dependencies.onMessage(type, outcome, (performance.now() - startedMs) / 1000);
  }

  #dispatch(viewer: Viewer, message: ClientMessage): Handled {
    switch (message.type) {
      case "authenticate": {
        const judged = this.#authenticate(viewer, message);
        viewer.authenticating = judged;
        return judged;
      }
      case "subscribe":
        return worstOf(
          message.lots.map((lotId) => this.#subscribe(viewer, lotId, message.since?.[lotId])),
        );
      case "unsubscribe":
        for (const lotId of message.lots) this.#unsubscribe(viewer, lotId);
        viewer.send({ type: "unsubscribed", lots: message.lots });
        return "ok";
      case "place_bid":
        return this.#placeBid(viewer, message);
      case "ping":
        viewer.send({ type: "pong", serverTimeMs: this.#dependencies.clock.nowMs() });
        return "ok";
    }
  }

  /** The token sent last counts, valid or not. Never rejects. */
  async #authenticate(viewer: Viewer, { token }: Message<"authenticate">): Promise<MessageResult> {
    const { verify, onRejected } = this.#dependencies;
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
    viewer.countError();
    return "refused";
  }

  #subscribe(viewer: Viewer, lotId: string, since: Position | undefined): Handled {
    const { hub, resume, maxLotsPerSocket, defined, onRejected } = this.#dependencies;
    const error = (why: Problem): MessageResult => {
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
    this.#unsubscribe(viewer, lotId);
    if (since === undefined) return this.#start(viewer, lotId, {});

    const resuming = new PendingSubscription();
    viewer.watched.set(lotId, resuming);
    const wanted = () => viewer.watched.get(lotId) === resuming;
    // A subscription that the viewer ended or replaced meanwhile needs no answer.
    let outcome: MessageResult = "ok";
    const resumed = resume.findMissed(lotId, since, wanted, (missed) => {
      if (wanted()) outcome = this.#finishResume(viewer, lotId, missed);
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

  /** In one turn of the event loop: the missed events, a snapshot, and the subscription. */
  #finishResume(viewer: Viewer, lotId: string, missed: MissedFrames): MessageResult {
    if (missed === "behind") {
      this.#dependencies.onResume("behind");
      viewer.watched.delete(lotId);
      viewer.send({ type: "error", lotId, problem: BEHIND });
      return "failed";
    }
    const recovered = missed !== null && viewer.unsentBytes < RESUME_UNSENT_MAX_BYTES;
    this.#dependencies.onResume(recovered ? "recovered" : "snapshot");
    if (recovered) viewer.writeAll(missed);
    return this.#start(viewer, lotId, { recovered });
  }

  #start(viewer: Viewer, lotId: string, flags: SnapshotFlags): MessageResult {
    const { hub, clock } = this.#dependencies;
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

  #unsubscribe(viewer: Viewer, lotId: string): void {
    const watched = viewer.watched.get(lotId);
    viewer.watched.delete(lotId);
    if (watched && !(watched instanceof PendingSubscription))
      this.#dependencies.hub.unsubscribe(watched);
  }

  /** For a viewer whose socket has closed. */
  unsubscribeAll(viewer: Viewer): void {
    for (const lotId of [...viewer.watched.keys()]) this.#unsubscribe(viewer, lotId);
  }

  /** For a viewer whose send buffer is empty again: snapshots of the lots of which it missed events. @returns how many */
  sendConflated(viewer: Viewer): number {
    const { hub, clock } = this.#dependencies;
    const frames: Buffer[] = [];
    for (const watched of viewer.watched.values()) {
      if (watched instanceof PendingSubscription) continue;
      const snapshot = hub.conflated(watched satisfies Subscription, clock.nowMs());
      if (snapshot) frames.push(snapshot);
    }
    if (frames.length > 0) viewer.writeAll(frames);
    return frames.length;
  }

  async #placeBid(viewer: Viewer, bid: Message<"place_bid">): Promise<MessageResult> {
    const { reporter } = this.#dependencies;
    if (!reporter.isTracing) return (await this.#answerBid(viewer, bid, null)).outcome;
    const startedMs = performance.now();
    const begun: BidSpanStart = { ...STREAM_SPAN, traceparent: bid.traceparent };
    const span = reporter.begin(begun);
    const { outcome, bidOutcome, bidId } = await this.#answerBid(viewer, bid, span);
    const tookMs = performance.now() - startedMs;
    const failed = outcome === "failed";
    if (reporter.shouldReport(span, { tookMs, failed })) {
      reporter.end(span, begun, { bidId, lotId: bid.lotId, outcome: bidOutcome, tookMs, failed });
    }
    return outcome;
  }

  async #answerBid(
    viewer: Viewer,
    bid: Message<"place_bid">,
    span: Span | null,
  ): Promise<{ outcome: MessageResult; bidOutcome: string; bidId: string }> {
    const { batcher, onBid, onUnavailable, reporter } = this.#dependencies;
    const { lotId, amountMinor, key } = bid;
    // The close frame that follows says that a bid without an answer was not taken (PROTOCOL.md, 1012).
    if (viewer.isClosing) return { outcome: "failed", bidOutcome: "leaving", bidId: "" };
    viewer.bidsInFlight++;
    try {
      await viewer.authenticating;
      const refusal = bidRefusal(viewer);
      if (refusal) {
        return { outcome: this.#refuse(viewer, bid, refusal), bidOutcome: refusal.code, bidId: "" };
      }

      const { bidderId } = viewer.identity!;
      const offered = { bidId: randomUUID(), bidderId, amountMinor, key };
      const placed = await batcher.place(lotId, offered, span);
      const bidOutcome = placed.outcome;
      const { bidId } = placed.outcome === "accepted" ? placed : offered;
      reporter.log(bidId, lotId, placed, span);
      if (placed.outcome === "unavailable") onUnavailable(placed.why);
      if (placed.outcome !== "accepted") {
        return {
          outcome: this.#refuse(viewer, bid, problemOf(placed), bidOutcome),
          bidOutcome,
          bidId,
        };
      }
      const { outcome, ...answer } = placed;
      onBid(outcome);
      viewer.send({ type: "bid_result", key, accepted: true, ...answer });
      return { outcome: "ok", bidOutcome, bidId };
    } finally {
      viewer.bidAnswered();
    }
  }

  #refuse(
    viewer: Viewer,
    { key, lotId }: { key: string; lotId: string | null },
    why: Problem,
    outcome: Parameters<Dependencies["onBid"]>[0] = why.code,
  ): MessageResult {
    this.#dependencies.onBid(outcome);
    viewer.send({ type: "bid_result", key, lotId, accepted: false, problem: why });
    return outcomeOf(why);
  }
}

const STREAM_SPAN = {
  name: "place_bid",
  attributes: { "network.protocol.name": "websocket" },
} as const;

/** The outcome of a message: at once, or later. Never rejects. */
type Handled = MessageResult | Promise<MessageResult>;

/** A status of 500 and above is our failure, as over HTTP. */
const outcomeOf = ({ status }: Problem): MessageResult => (status >= 500 ? "failed" : "refused");

function worstOf(all: readonly Handled[]): Handled {
  const said = all.filter((one) => typeof one === "string");
  const worst = (outcomes: readonly MessageResult[]): MessageResult =>
    (["failed", "refused"] as const).find((one) => outcomes.includes(one)) ?? "ok";
  return said.length === all.length ? worst(said) : Promise.all(all).then(worst);
}

const BEHIND = problem(
  "unavailable",
  "This process is behind the position in `since`; subscribe again, here or elsewhere.",
);
const NO_TOKEN = problem("unauthenticated", "Send authenticate first; viewing needs no token.");
const EXPIRED = problem("unauthenticated", "The token has expired; send authenticate again.");
const NO_SCOPE = problem("forbidden", "The token's scope does not hold bid.");

function bidRefusal({ identity }: Viewer): Problem | null {
  if (identity === null) return NO_TOKEN;
  if (identity.expiresAtMs <= Date.now()) return EXPIRED;
  return identity.scopes.has("bid") ? null : NO_SCOPE;
}
