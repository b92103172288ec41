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
 * brought forward first; what even the store does not have never was.
 */
import { setTimeout } from "node:timers/promises";
import type { LotEvent } from "../lot/events.ts";
import { frameOf } from "../lot/view.ts";
import type { Store } from "../store/connect.ts";
import { eventsSince } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import type { Seen } from "../store/place-bids.ts";
import { textFrame } from "./frames.ts";
import type { Hub } from "./hub.ts";
import type { Refill } from "./refill.ts";

/** Behind by more events, a viewer gets the lot as it stands: they would fill its socket. */
export const RESUME_MAX_EVENTS = 2_000;

/** Looks at hub and store until they meet; each look gives a slow store some time to come back. */
const LOOKS_MAX = 10;
const RETRY_MS = 400;

/** Reads going on at once; the rest of an avalanche waits its turn. */
const READS_MAX = 8;

/** What was missed, oldest first; null when not all of it can be had. */
export type Done = (missed: readonly Buffer[] | null) => void;

export class Resume {
  #reads = new Map<string, { wanted: (() => boolean)[]; read: Promise<Read | null> }>();
  #reading = 0;
  #turns: (() => void)[] = [];
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
   * Calls `done` once, at once where the hub has all. Never rejects: a store that stays away makes
   * the answer null.
   * @param wanted false once nobody waits for it any more
   */
  async lot(lotId: string, since: Seen, wanted: () => boolean, done: Done): Promise<void> {
    const before: Buffer[] = [];
    let from = since;
    let refills = 0; // the first may have begun before we asked
    for (let look = 0; look < LOOKS_MAX && wanted(); look++) {
      const position = this.#hub.position(lotId);
      if (position === null) return done(null);
      const missed = this.#hub.since(lotId, from);
      if (missed.found === "frames") return done([...before, ...missed.frames]);
      if (missed.found === "foreign") return done(null);
      try {
        if (missed.found === "ahead") {
          if (refills === 2) return done(null);
          refills++;
          await this.#refill.lot(lotId);
          continue;
        }
        if (position.seq - since.seq > RESUME_MAX_EVENTS) return done(null);
        const read = await this.#read(lotId, from, wanted);
        if (read === null) return done(null);
        before.push(...read.frames);
        from = read.upTo;
      } catch {
        await setTimeout(RETRY_MS);
      }
    }
    done(null);
  }

  /** All that ask for the same share one read: a thousand viewers come back at once. */
  #read(lotId: string, from: Seen, wanted: () => boolean): Promise<Read | null> {
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
    from: Seen,
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
  readonly upTo: Seen;
}

/** Null where the epoch changes on the way: what was lost between cannot be told. */
function readOf(events: readonly LotEvent[], from: Seen): Read | null {
  const last = events.at(-1);
  if (last && last.epoch !== from.epoch) return null;
  return {
    frames: events.map((event) => textFrame(JSON.stringify(frameOf(event)))),
    upTo: last ? { epoch: last.epoch, seq: last.seq } : from,
  };
}
