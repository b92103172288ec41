import { performance } from "node:perf_hooks";
import { type Store, storeClockMs } from "../store/connect.ts";

/** Redis's clock, the only one that decides: estimated between two readings of it. */
export class StoreClock {
  #offsetMs = performance.timeOrigin;

  nowMs(): number {
    return Math.round(performance.now() + this.#offsetMs);
  }

  /** Reads Redis's clock. @throws when the store does not answer */
  async set(store: Store): Promise<void> {
    const beforeMs = performance.now();
    const clockMs = await storeClockMs(store);
    this.#offsetMs = clockMs - (beforeMs + performance.now()) / 2;
  }
}
