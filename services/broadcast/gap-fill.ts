/** Brings single lots of the hub forward from the store: at gaps, at new lots, at a lost tail. */
import type { LotEvent } from "../lot/events.ts";
import type { Store } from "../store/connect.ts";
import { eventsSince } from "../store/history.ts";
import type { Keys } from "../store/keys.ts";
import { readAuction, readLots } from "../store/lots.ts";
import type { Position } from "../lot/position.ts";
import type { FanOut } from "./fan-out.ts";
import type { Hub } from "./hub.ts";
import type { StoreClock } from "./store-clock.ts";

/** Entries of a lot's stream that are read at most; behind by more, viewers get a snapshot. */
const REFILL_MAX_ENTRIES = 1_500;

export type Refilled = "events" | "added" | "reset" | "refreshed" | "kept" | "unknown_lot";

export class Refill {
  #going = new Map<string, Promise<Refilled>>();
  readonly #store: Store;
  readonly #keys: Keys;
  readonly #hub: Hub;
  readonly #fanOut: FanOut;
  readonly #clock: StoreClock;
  readonly #onRefill: (result: Refilled) => void;

  constructor(
    { store, keys, hub, fanOut, clock }: RefillParts,
    onRefill: (result: Refilled) => void = () => {},
  ) {
    this.#store = store;
    this.#keys = keys;
    this.#hub = hub;
    this.#fanOut = fanOut;
    this.#clock = clock;
    this.#onRefill = onRefill;
  }

  /**
   * Brings a lot to where the store has it: by the events in between, else by the lot as it stands.
   * One read a lot at a time, however many ask. @throws when the store does not answer
   */
  lot(lotId: string): Promise<Refilled> {
    let going = this.#going.get(lotId);
    if (!going) {
      going = this.#refill(lotId).finally(() => this.#going.delete(lotId));
      this.#going.set(lotId, going);
    }
    return going;
  }

  async #refill(lotId: string): Promise<Refilled> {
    const position = this.#hub.position(lotId);
    const events = position && (await this.#events(lotId, position));
    // Nothing missed, and asked nevertheless: the lot may stand where it stood, under a higher epoch.
    const result = events?.length ? this.#publish(lotId, events) : await this.#put(lotId);
    this.#onRefill(result);
    void this.#fanOut.run();
    return result;
  }

  #events(lotId: string, { epoch, seq }: Position): Promise<LotEvent[] | null> {
    return eventsSince(this.#store, this.#keys, lotId, { epoch, seq }, REFILL_MAX_ENTRIES);
  }

  #publish(lotId: string, events: readonly LotEvent[]): Refilled {
    this.#hub.publish(lotId, events);
    return "events";
  }

  async #put(lotId: string): Promise<Refilled> {
    const auction = await readAuction(this.#store, this.#keys);
    const [lot] = auction ? await readLots(this.#store, this.#keys, auction, [lotId]) : [];
    return lot ? this.#hub.put(lot, this.#clock.nowMs()) : "unknown_lot";
  }
}

export interface RefillParts {
  readonly store: Store;
  readonly keys: Keys;
  readonly hub: Hub;
  readonly fanOut: FanOut;
  readonly clock: StoreClock;
}
