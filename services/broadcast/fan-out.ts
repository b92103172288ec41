/** Runs the hub's sweeps in chunks; between two chunks the process does its other work. */
import { performance } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import type { Hub } from "./hub.ts";

/** Sockets written to in one chunk: about 15 ms. */
const CHUNK = 2_000;

export class FanOut {
  #sweeping = false;
  #swept = Promise.resolve();
  readonly #hub: Hub;
  readonly #onSwept: (seconds: number) => void;

  /** @param onSwept called with the duration of each sweep */
  constructor(hub: Hub, onSwept: (seconds: number) => void = () => {}) {
    this.#hub = hub;
    this.#onSwept = onSwept;
  }

  /** Resolves when every published frame is written. The first chunk is written in the same turn. */
  run(): Promise<void> {
    if (!this.#sweeping) this.#swept = this.#sweep();
    return this.#swept;
  }

  async #sweep(): Promise<void> {
    if (!this.#hub.unswept) return;
    this.#sweeping = true;
    const startedMs = performance.now();
    while (this.#hub.sweep(CHUNK)) await setImmediate();
    this.#sweeping = false;
    this.#onSwept((performance.now() - startedMs) / 1000);
  }
}
