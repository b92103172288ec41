import type { Bus } from "../../bus/connect.ts";
import { jetStreamAnswers } from "../../bus/stream.ts";

/** Measures for how long JetStream has answered without serving the stream. */
export class StreamOutage {
  #sinceMs: number | null = null;
  readonly #limitMs: number;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** The stream was served, or its state is unknown: something else failed, or another process holds the lease. */
  ended(): void {
    this.#sinceMs = null;
  }

  /** The stream could not be read or written. @returns whether the outage has lasted longer than the limit */
  async failed(bus: Bus): Promise<boolean> {
    if (!(await jetStreamAnswers(bus))) {
      this.ended();
      return false;
    }
    this.#sinceMs ??= performance.now();
    return performance.now() - this.#sinceMs >= this.#limitMs;
  }
}
