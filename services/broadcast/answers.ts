/** What each message of a viewer does. One viewer's messages are taken in their order. */
import { randomUUID } from "node:crypto";
import { type Problem, problem, type ProblemCode, problemOf } from "../access/problems.ts";
import type { Verify } from "../access/tokens.ts";
import type { Logger } from "../runtime/log.ts";
import type { Batcher } from "../store/batcher.ts";
import type { Placement, Seen } from "../store/place-bids.ts";
import type { Hub, SnapshotFlags, Subscription } from "./hub.ts";
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
  readonly maxLotsPerSocket: number;
  /** Whether the lots are known. */
  readonly defined: () => boolean;
  readonly onBid: (outcome: Placement["outcome"] | ProblemCode) => void;
  readonly onResume: (result: "recovered" | "snapshot" | "behind") => void;
  readonly onRejected: (reason: "invalid" | "unauthenticated" | "too_many_lots") => void;
}

/** Missed events are written although they make a viewer fall behind, but not beyond this. */
const RESUME_BACKLOG_BYTES = BACKLOG_MAX_BYTES / 2;

export class Answers {
  readonly #parts: AnswersParts;

  constructor(parts: AnswersParts) {
    this.#parts = parts;
  }

  /** Takes one text frame. Whatever it holds, it costs this viewer only. */
  take(viewer: Viewer, text: string): void {
    const reading = readMessage(text);
    if (!reading.ok) {
      const { field, detail, bid } = reading;
      const invalid = problem("invalid", detail, field === undefined ? {} : { field });
      if (bid) this.#refuse(viewer, bid, invalid);
      else viewer.send({ type: "error", problem: invalid });
      this.#parts.onRejected("invalid");
      viewer.strike();
      return;
    }
    this.#answer(viewer, reading.message);
  }

  #answer(viewer: Viewer, message: ClientMessage): void {
    switch (message.type) {
      case "authenticate":
        viewer.authenticating = this.#authenticate(viewer, message);
        return;
      case "subscribe":
        for (const lotId of message.lots) this.#watch(viewer, lotId, message.since?.[lotId]);
        return;
      case "unsubscribe":
        for (const lotId of message.lots) this.#leave(viewer, lotId);
        viewer.send({ type: "unsubscribed", lots: message.lots });
        return;
      case "place_bid":
        void this.#placeBid(viewer, message);
        return;
      case "ping":
        viewer.send({ type: "pong", serverTimeMs: this.#parts.clock.nowMs() });
        return;
    }
  }

  /** The token that came last counts, good or not. Never rejects. */
  async #authenticate(viewer: Viewer, { token }: Message<"authenticate">): Promise<void> {
    const { verify, log, onRejected } = this.#parts;
    await viewer.authenticating;
    viewer.identity = null;
    try {
      viewer.identity = await verify(token);
    } catch (error) {
      log.warn({ err: error }, "tokens cannot be verified");
      const detail = "Tokens cannot be verified at the moment; send it again.";
      viewer.send({ type: "error", problem: problem("unavailable", detail) });
      return;
    }
    if (viewer.identity) {
      const { bidderId, expiresAtMs } = viewer.identity;
      viewer.send({ type: "authenticated", bidderId, expiresAtMs });
      return;
    }
    onRejected("unauthenticated");
    viewer.send({ type: "error", problem: problem("unauthenticated", "The token is not valid.") });
    viewer.strike();
  }

  #watch(viewer: Viewer, lotId: string, since: Seen | undefined): void {
    const { hub, resume, maxLotsPerSocket, defined, onRejected } = this.#parts;
    const error = (why: Problem) => viewer.send({ type: "error", lotId, problem: why });
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
    void resume.lot(lotId, since, wanted, (missed) => {
      if (wanted()) this.#recover(viewer, lotId, missed);
    });
  }

  /** In one turn: what was missed, the lot as it stands, and the subscription. */
  #recover(viewer: Viewer, lotId: string, missed: Missed): void {
    if (missed === "behind") {
      this.#parts.onResume("behind");
      viewer.watched.delete(lotId);
      return viewer.send({ type: "error", lotId, problem: BEHIND });
    }
    const recovered = missed !== null && viewer.backlogBytes < RESUME_BACKLOG_BYTES;
    this.#parts.onResume(recovered ? "recovered" : "snapshot");
    if (recovered) viewer.writeAll(missed);
    this.#show(viewer, lotId, { recovered });
  }

  #show(viewer: Viewer, lotId: string, flags: SnapshotFlags): void {
    const { hub, clock } = this.#parts;
    const subscription = hub.subscribe(lotId, viewer);
    if (subscription === null) {
      viewer.watched.delete(lotId);
      const gone = problemOf({ outcome: "unknown_lot" });
      return viewer.send({ type: "error", lotId, problem: gone });
    }
    viewer.watched.set(lotId, subscription);
    viewer.write(hub.snapshot(lotId, clock.nowMs(), flags), 1);
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

  async #placeBid(viewer: Viewer, bid: Message<"place_bid">): Promise<void> {
    const { batcher, onBid } = this.#parts;
    const { lotId, amountMinor, key } = bid;
    if (viewer.leaving) return; // The close that it is about to get says that no answer means not taken.
    viewer.bidsInFlight++;
    try {
      await viewer.authenticating;
      const refusal = mayBid(viewer);
      if (refusal) return this.#refuse(viewer, bid, refusal);

      const { bidderId } = viewer.identity!;
      const placed = await batcher.place(lotId, {
        bidId: randomUUID(),
        bidderId,
        amountMinor,
        key,
      });
      if (placed.outcome !== "accepted") {
        return this.#refuse(viewer, bid, problemOf(placed), placed.outcome);
      }
      const { outcome, ...answer } = placed;
      onBid(outcome);
      viewer.send({ type: "bid_result", key, accepted: true, ...answer });
    } finally {
      viewer.bidAnswered();
    }
  }

  #refuse(
    viewer: Viewer,
    { key, lotId }: { key: string; lotId: string | null },
    why: Problem,
    outcome: Parameters<AnswersParts["onBid"]>[0] = why.code,
  ): void {
    this.#parts.onBid(outcome);
    viewer.send({ type: "bid_result", key, lotId, accepted: false, problem: why });
  }
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
