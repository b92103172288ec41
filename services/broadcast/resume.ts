/**
 * Finds what a viewer missed of a lot while it was away.
 *
 * The race: while older events are read from the store, new ones arrive at the hub. It is settled by
 * order, not by locks. What is read goes on exactly where the hub's own frames take over, and if the
 * hub has moved on beyond its oldest frame meanwhile, the reading goes on from where it came to. The
 * last look at the hub and `done` happen in one turn of the event loop: `done` subscribes, so no event
 * can fall between what was missed and what comes live, and none can come twice.
 *
 * A viewer may also know more than we do: it comes from a process that is ahead. Then the hub is
 * brought forward first. Where even the store has less, what the viewer knows never was, or the store lost
 * it: then whoever has seen it claims it, or archival puts it back under a higher epoch. Nobody is shown an
 * older lot than it knows while that is open.
 */
import { performance } from "node:perf_hooks";
import { setTimeout } from "node:timers/promises";
import { isUnavailable } from "../access/unavailable.ts";
import type { LotEvent } from "../lot/events.ts";
import { frameOf } from "../lot/view.ts";
import type { Store } from "../store/connect.ts";
import { eventsSince } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, type StoredAuction } from "../store/lots.ts";
import type { Position } from "../lot/position.ts";
import { serverOf } from "../store/which-server.ts";
import { textFrame } from "./frames.ts";
import type { Hub } from "./hub.ts";
import type { Refill } from "./gap-fill.ts";

/** Behind by more events, a viewer gets the lot as it stands: they would fill its socket. */
export const RESUME_MAX_EVENTS = 2_000;

/** Looks at hub and store until they meet; each look gives a slow store some time to come back. */
const LOOKS_MAX = 10;
const RETRY_MS = 400;

/** A process claims what it showed and the store lost within a look of its `Positions`, 2 s, and one call. */
const CLAIMED_WITHIN_MS = 3_000;

/** Reads going on at once; the rest of an avalanche waits its turn. */
const READS_MAX = 8;

/**
 * What was missed, oldest first; null when not all of it can be had, and the lot as it stands says what holds.
 * "behind": the viewer knows more than we have, and may be right.
 */
export type Missed = readonly Buffer[] | null | "behind";

export class Resume {
  #reads = new Map<string, { wanted: (() => boolean)[]; read: Promise<Read | null> }>();
  #reading = 0;
  #turns: (() => void)[] = [];
  #judging: Promise<StoredAuction | null> | null = null;
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #hub: Hub;
  readonly #refill: Refill;

  constructor(store: Store, keys: Keys, hub: Hub, refill: Refill) {
    this.#store = store;
    this.#keys = keys;
    this.#hub = hub;
    this.#refill = refill;
  }

  /**
   * Calls `done` once, at once where the hub has all. Where the store stays away the answer is null, or
   * "behind". @throws only for a defect
   * @param wanted false once nobody waits for it any more
   */
  async lot(
    lotId: string,
    since: Position,
    wanted: () => boolean,
    done: (missed: Missed) => void,
  ): Promise<void> {
    const before: Buffer[] = [];
    let from = since;
    let lackingSinceMs: number | null = null;
    for (let look = 0; look < LOOKS_MAX && wanted(); look++) {
      const position = this.#hub.position(lotId);
      if (position === null) return done(null);
      const missed = this.#hub.since(lotId, from);
      if (missed.found === "frames") return done([...before, ...missed.frames]);
      if (missed.found === "foreign") return done(null);
      try {
        if (missed.found === "ahead") {
          await this.#refill.lot(lotId);
          if (!this.#isAhead(lotId, from)) continue;
          const nowMs = performance.now();
          lackingSinceMs = (await this.#mayHaveLost(lotId)) ? null : (lackingSinceMs ?? nowMs);
          if (lackingSinceMs !== null && nowMs - lackingSinceMs > CLAIMED_WITHIN_MS) {
            return done(null); // It never was.
          }
          await setTimeout(RETRY_MS);
          continue;
        }
        if (position.seq - since.seq > RESUME_MAX_EVENTS) return done(null);
        const read = await this.#read(lotId, from, wanted);
        if (read === null) return done(null);
        before.push(...read.frames);
        from = read.upTo;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        await setTimeout(RETRY_MS);
      }
    }
    done(this.#isAhead(lotId, since) ? "behind" : null);
  }

  #isAhead(lotId: string, seen: Position): boolean {
    return this.#hub.position(lotId) !== null && this.#hub.since(lotId, seen).found === "ahead";
  }

  /**
   * Whether the store may lack what it had: it is not compared with the archive since it was started, or
   * somebody has more of this lot. All that ask share one look. @throws when the store does not answer
   */
  async #mayHaveLost(lotId: string): Promise<boolean> {
    this.#judging ??= readAuction(this.#store, this.#keys).finally(() => (this.#judging = null));
    const [auction, server] = await Promise.all([this.#judging, serverOf(this.#store)]);
    if (auction === null || auction.ahead.has(lotId)) return true;
    return auction.confirmedServer !== null && auction.confirmedServer !== server;
  }

  /** All that ask for the same share one read: a thousand viewers come back at once. */
  #read(lotId: string, from: Position, wanted: () => boolean): Promise<Read | null> {
    const name = `${lotId} ${from.epoch} ${from.seq}`;
    const going = this.#reads.get(name);
    if (going) {
      going.wanted.push(wanted);
      return going.read;
    }
    const all = [wanted];
    const read = this.#readInTurn(lotId, from, all).finally(() => this.#reads.delete(name));
    this.#reads.set(name, { wanted: all, read });
    return read;
  }

  /** A read that nobody waits for any more by its turn is left out: asking anew must not pile them up. */
  async #readInTurn(
    lotId: string,
    from: Position,
    wanted: readonly (() => boolean)[],
  ): Promise<Read | null> {
    if (this.#reading >= READS_MAX) await new Promise<void>((turn) => this.#turns.push(turn));
    else this.#reading++;
    try {
      if (!wanted.some((each) => each())) return null;
      const events = await eventsSince(this.#store, this.#keys, lotId, from, RESUME_MAX_EVENTS + 1);
      return events && readOf(events, from);
    } finally {
      const next = this.#turns.shift();
      if (next) next();
      else this.#reading--;
    }
  }
}

interface Read {
  readonly frames: readonly Buffer[];
  readonly upTo: Position;
}

/** Null where the epoch changes on the way: what was lost between cannot be told. */
function readOf(events: readonly LotEvent[], from: Position): Read | null {
  const last = events.at(-1);
  if (last && last.epoch !== from.epoch) return null;
  return {
    frames: events.map((event) => textFrame(JSON.stringify(frameOf(event)))),
    upTo: last ? { epoch: last.epoch, seq: last.seq } : from,
  };
}
