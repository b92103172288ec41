/** Runs the hub's sweeps, in chunks between which the process answers everybody else. */
import { setImmediate } from "node:timers/promises";
import type { Hub } from "./hub.ts";

/** Sockets written to in one go: about 15 ms. */
const CHUNK = 2_000;

export class FanOut {
  #sweeping = false;
  #swept = Promise.resolve();
  readonly #hub: Hub;

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** Settles when everything published has been written. The first chunk is written at once. */
  run(): Promise<void> {
    if (!this.#sweeping) this.#swept = this.#sweep();
    return this.#swept;
  }

  async #sweep(): Promise<void> {
    this.#sweeping = true;
    while (this.#hub.sweep(CHUNK)) await setImmediate();
    this.#sweeping = false;
  }
}
