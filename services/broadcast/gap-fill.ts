/** Brings single lots of the hub forward from the store: after a gap, for a new lot, after the store lost events. */
import type { LotEvent } from "../lot/events.ts";
import type { Store } from "../store/connect.ts";
import { eventsSince } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import type { Position } from "../lot/position.ts";
import type { FanOut } from "./fan-out.ts";
import type { Hub } from "./hub.ts";
import type { StoreClock } from "./store-clock.ts";

/** Entries of a lot's stream that one fill reads at most; behind by more, viewers get a snapshot. */
const MAX_ENTRIES = 1_500;

export type GapFillResult = "events" | "added" | "reset" | "refreshed" | "kept" | "unknown_lot";

interface Dependencies {
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly fanOut: FanOut;
  readonly clock: StoreClock;
  readonly onFilled?: (result: GapFillResult) => void;
}

export class GapFill {
  #running = new Map<string, Promise<GapFillResult>>();
  readonly #dependencies: Dependencies;

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Brings a lot to the store's position: by the events in between, else by a snapshot. One read a lot at a
   * time: callers in the meantime share it. @throws when the store does not answer
   */
  fill(lotId: string): Promise<GapFillResult> {
    let running = this.#running.get(lotId);
    if (!running) {
      running = this.#fill(lotId).finally(() => this.#running.delete(lotId));
      this.#running.set(lotId, running);
    }
    return running;
  }

  async #fill(lotId: string): Promise<GapFillResult> {
    const { hub, fanOut, onFilled } = this.#dependencies;
    const position = hub.position(lotId);
    const events = position && (await this.#eventsAfter(lotId, position));
    // Without missed events the lot may still have another epoch: then the snapshot replaces it.
    const result = events?.length ? this.#publish(lotId, events) : await this.#put(lotId);
    onFilled?.(result);
    void fanOut.run();
    return result;
  }

  #eventsAfter(lotId: string, { epoch, seq }: Position): Promise<LotEvent[] | null> {
    const { store, keys } = this.#dependencies;
    return eventsSince(store, keys, lotId, { epoch, seq }, MAX_ENTRIES);
  }

  #publish(lotId: string, events: readonly LotEvent[]): GapFillResult {
    this.#dependencies.hub.publish(lotId, events);
    return "events";
  }

  async #put(lotId: string): Promise<GapFillResult> {
    const { store, keys, hub, clock } = this.#dependencies;
    const auction = await readAuction(store, keys);
    const [lot] = auction ? await readLots(store, keys, auction, [lotId]) : [];
    return lot ? hub.put(lot, clock.nowMs()) : "unknown_lot";
  }
}
