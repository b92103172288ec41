/**
 * Compares every lot with the store, every 2 s: finds lots defined since, lots that are gone, changed
 * schedules, and lots whose events did not reach us. It also keeps the clock.
 */
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import type { Seen } from "../store/place-bids.ts";
import type { Hub, Reader } from "./hub.ts";
import type { Refill } from "./refill.ts";
import type { StoreClock } from "./store-clock.ts";

const CHECK_EVERY_MS = 2_000;

/** Lots read in one call. */
const LOTS_PER_READ = 200;

export interface PositionsParts {
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly refill: Refill;
  readonly clock: StoreClock;
  readonly log: Logger;
  /** A lot is no more in the auction; its readers watch it no longer. */
  readonly onDropped: (lotId: string, readers: readonly Reader[]) => void;
  /** Something may be waiting to be written. */
  readonly onChanged: () => void;
}

export class Positions {
  /** Where the store had each lot at the last look: by now we must be there. */
  #due = new Map<string, Seen>();
  #defined = false;
  #failing = false;
  readonly #parts: PositionsParts;

  constructor(parts: PositionsParts) {
    this.#parts = parts;
  }

  /** Whether the store has told what lots there are. */
  get defined(): boolean {
    return this.#defined;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(CHECK_EVERY_MS, signal);
      if (signal.aborted) return;
      try {
        await this.check();
        this.#failing = false;
      } catch (error) {
        if (!this.#failing) this.#parts.log.warn({ err: error }, "lots cannot be compared");
        this.#failing = true;
      }
    }
  }

  /** One look. @throws when the store does not answer */
  async check(): Promise<void> {
    const { store, keys, hub, clock, onDropped, onChanged } = this.#parts;
    await clock.set(store);
    const auction = await readAuction(store, keys);
    if (auction === null) return;
    const { lotIds } = auction;
    for (let at = 0; at < lotIds.length; at += LOTS_PER_READ) {
      const some = lotIds.slice(at, at + LOTS_PER_READ);
      for (const lot of await readLots(store, keys, auction, some)) {
        if (lot === null) continue;
        const position = hub.position(lot.lotId);
        if (position !== null && isAhead(lot, position)) await this.#mayBeBehind(lot.lotId);
        else hub.put(lot, clock.nowMs());
        this.#due.set(lot.lotId, { epoch: lot.epoch, seq: lot.seq });
      }
    }
    const there = new Set(lotIds);
    for (const lotId of [...hub.lotIds].filter((lotId) => !there.has(lotId))) {
      this.#due.delete(lotId);
      onDropped(lotId, hub.drop(lotId));
    }
    onChanged();
    this.#defined = true;
  }

  /** Behind where the store is now is normal: events are on their way. Behind where it was is not. */
  async #mayBeBehind(lotId: string): Promise<void> {
    const { hub, refill, log } = this.#parts;
    const due = this.#due.get(lotId);
    const position = hub.position(lotId);
    if (due === undefined || position === null || !isAhead(due, position)) return;
    const result = await refill.lot(lotId);
    log.warn({ lotId, result }, "a lot was behind the store");
  }
}

function isAhead(a: Seen, b: Seen): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.seq > b.seq);
}
