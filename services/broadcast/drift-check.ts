/**
 * Compares every lot with the store, every 2 s and whenever the store is back: finds lots defined since,
 * lots that are gone, changed schedules, lots whose events did not reach us, and events that reached us and
 * that the store lost. It also keeps the clock.
 */
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import { isBehind, type Position, START } from "../lot/position.ts";
import { claimEvents } from "../store/claims.ts";
import type { Hub, Reader } from "./hub.ts";
import type { KeptEntries } from "./recent-entries.ts";
import type { Refill } from "./gap-fill.ts";
import type { StoreClock } from "./store-clock.ts";

const CHECK_EVERY_MS = 2_000;

/** Lots read in one call. */
const LOTS_PER_READ = 200;

export interface PositionsParts {
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly refill: Refill;
  /** What we read of the outbox: claimed where the store lost it. */
  readonly kept: KeptEntries;
  readonly clock: StoreClock;
  readonly log: Logger;
  /** A lot is no more in the auction; its readers watch it no longer. */
  readonly onDropped: (lotId: string, readers: readonly Reader[]) => void;
  /** Something may be waiting to be written. */
  readonly onChanged: () => void;
}

export class Positions {
  /** Where the store had each lot at the last look: by now we must be there. */
  #due = new Map<string, Position>();
  #looked = false;
  #defined = false;
  #failing = false;
  readonly #parts: PositionsParts;

  constructor(parts: PositionsParts) {
    this.#parts = parts;
  }

  /** Whether the store was read once: viewers who come before would be told that there are no lots. */
  get looked(): boolean {
    return this.#looked;
  }

  /** Whether the store has told what lots there are. */
  get defined(): boolean {
    return this.#defined;
  }

  async run(signal: AbortSignal): Promise<void> {
    let back = new AbortController();
    this.#parts.store.on("ready", () => back.abort());
    signal.addEventListener("abort", () => back.abort(), { once: true });
    while (!signal.aborted) {
      await pause(CHECK_EVERY_MS, back.signal);
      back = new AbortController();
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
    const shown = new Map([...hub.lotIds].map((lotId) => [lotId, hub.position(lotId)!]));
    const auction = await readAuction(store, keys);
    if (auction === null) {
      for (const [lotId, position] of shown) await this.#claim(lotId, position, START);
      this.#looked = true;
      return;
    }
    const { lotIds } = auction;
    for (let at = 0; at < lotIds.length; at += LOTS_PER_READ) {
      const some = lotIds.slice(at, at + LOTS_PER_READ);
      for (const lot of await readLots(store, keys, auction, some)) {
        if (lot === null) continue;
        const before = shown.get(lot.lotId);
        if (before !== undefined && isBehind(lot, before))
          await this.#claim(lot.lotId, before, lot);
        const position = hub.position(lot.lotId);
        if (position !== null && isBehind(position, lot)) await this.#mayBeBehind(lot.lotId);
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
    this.#looked = true;
    this.#defined = true;
  }

  /** The store had these events, and has them no more. */
  async #claim(lotId: string, shown: Position, has: Position): Promise<void> {
    const { store, keys, kept, log } = this.#parts;
    const entries = kept.after(lotId, has);
    const { epoch, seq } = shown;
    log.error({ lotId, shown: { epoch, seq }, entries: entries.length }, "the store lost events");
    await claimEvents(store, keys, lotId, { epoch, seq }, entries);
  }

  /** Behind where the store is now is normal: events are on their way. Behind where it was is not. */
  async #mayBeBehind(lotId: string): Promise<void> {
    const { hub, refill, log } = this.#parts;
    const due = this.#due.get(lotId);
    const position = hub.position(lotId);
    if (due === undefined || position === null || !isBehind(position, due)) return;
    const result = await refill.lot(lotId);
    log.warn({ lotId, result }, "a lot was behind the store");
  }
}
