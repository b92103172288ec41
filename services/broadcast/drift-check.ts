/**
 * Compares every lot of the hub with the store, every 2 s and whenever the connection is ready again. It finds
 * lots that were added or removed, changed schedules, events that did not reach this process, and events that
 * this process has and the store lost. It also sets the store clock.
 */
import { isUnavailable } from "../access/error-class.ts";
import type { Lot } from "../lot/lot.ts";
import { pause } from "../runtime/lifecycle.ts";
import type { Logger } from "../runtime/log.ts";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import { isBehind, type Position, START } from "../lot/position.ts";
import { claimEvents } from "../store/claims.ts";
import type { Hub, Reader } from "./hub.ts";
import type { RecentEntries } from "./recent-entries.ts";
import type { GapFill } from "./gap-fill.ts";
import type { StoreClock } from "./store-clock.ts";

const CHECK_EVERY_MS = 2_000;

/** Lots read in one call. */
const LOTS_PER_READ = 200;

interface Dependencies {
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly gapFill: GapFill;
  /** Claimed where the store lost them. */
  readonly recentEntries: RecentEntries;
  readonly clock: StoreClock;
  readonly log: Logger;
  /** The auction has the lot no more; its readers are unsubscribed already. */
  readonly onRemoved: (lotId: string, readers: readonly Reader[]) => void;
  /** The hub may have frames to write. */
  readonly onChanged: () => void;
}

export class DriftCheck {
  /** The store's position of each lot at the last check: at the next one the hub must have reached it. */
  #due = new Map<string, Position>();
  #checked = false;
  #defined = false;
  #failing = false;
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /** Whether a check has succeeded. Before that, every lot would be answered as unknown. */
  get checked(): boolean {
    return this.#checked;
  }

  /** Whether the store has an auction with its lots. */
  get defined(): boolean {
    return this.#defined;
  }

  /** Checks until the signal aborts. @throws a defect */
  async run(signal: AbortSignal): Promise<void> {
    let early = new AbortController();
    this.#dependencies.store.on("ready", () => early.abort());
    signal.addEventListener("abort", () => early.abort(), { once: true });
    while (!signal.aborted) {
      await pause(CHECK_EVERY_MS, early.signal);
      early = new AbortController();
      if (signal.aborted) return;
      try {
        await this.check();
        this.#failing = false;
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        if (!this.#failing) this.#dependencies.log.warn({ err: error }, "drift check failed");
        this.#failing = true;
      }
    }
  }

  /** @throws when the store does not answer */
  async check(): Promise<void> {
    const { store, keys, hub, clock, onChanged } = this.#dependencies;
    await clock.set(store);
    const before = new Map([...hub.lotIds].map((lotId) => [lotId, hub.position(lotId)!]));
    const auction = await readAuction(store, keys);
    if (auction === null) {
      for (const [lotId, position] of before) await this.#claim(lotId, position, START);
      this.#checked = true;
      return;
    }
    const { lotIds } = auction;
    for (let at = 0; at < lotIds.length; at += LOTS_PER_READ) {
      const some = lotIds.slice(at, at + LOTS_PER_READ);
      for (const lot of await readLots(store, keys, auction, some)) {
        if (lot !== null) await this.#compare(lot, before.get(lot.lotId));
      }
    }
    this.#removeAllBut(new Set(lotIds));
    onChanged();
    this.#checked = true;
    this.#defined = true;
  }

  /** @param before the hub's position when the check began */
  async #compare(lot: Lot, before: Position | undefined): Promise<void> {
    const { hub, clock } = this.#dependencies;
    const { lotId, epoch, seq } = lot;
    if (before !== undefined && isBehind(lot, before)) await this.#claim(lotId, before, lot);
    const position = hub.position(lotId);
    if (position !== null && isBehind(position, lot)) await this.#fillIfOverdue(lotId);
    else hub.put(lot, clock.nowMs());
    this.#due.set(lotId, { epoch, seq });
  }

  #removeAllBut(lotIds: ReadonlySet<string>): void {
    const { hub, onRemoved } = this.#dependencies;
    for (const lotId of [...hub.lotIds].filter((each) => !lotIds.has(each))) {
      this.#due.delete(lotId);
      onRemoved(lotId, hub.drop(lotId));
    }
  }

  /** The store has lost events that this process has: this process writes them back as claims. */
  async #claim(lotId: string, shown: Position, stored: Position): Promise<void> {
    const { store, keys, recentEntries, log } = this.#dependencies;
    const entries = recentEntries.after(lotId, stored);
    const { epoch, seq } = shown;
    log.error({ lotId, shown: { epoch, seq }, entries: entries.length }, "store lost events");
    await claimEvents(store, keys, lotId, { epoch, seq }, entries);
  }

  /**
   * A lot may lag the store while events are on their way. It must have reached the store's position of the previous
   * check.
   */
  async #fillIfOverdue(lotId: string): Promise<void> {
    const { hub, gapFill, log } = this.#dependencies;
    const due = this.#due.get(lotId);
    const position = hub.position(lotId);
    if (due === undefined || position === null || !isBehind(position, due)) return;
    const result = await gapFill.fill(lotId);
    log.warn({ lotId, result }, "lot was behind the store");
  }
}
