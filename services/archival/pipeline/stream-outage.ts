import type { Bus } from "../../bus/connect.ts";
import { jetStreamAnswers } from "../../bus/stream.ts";

/** Measures for how long JetStream answers, and does not serve the stream. */
export class StreamOutage {
  #sinceMs: number | null = null;
  readonly #limitMs: number;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** The stream was served, something else failed, or another process is at work: nothing is known of the stream. */
  ended(): void {
    this.#sinceMs = null;
  }

  /** The stream could not be read or written. @returns whether that lasts for longer than the limit */
  async failed(bus: Bus): Promise<boolean> {
    if (!(await jetStreamAnswers(bus))) {
      this.ended();
      return false;
    }
    this.#sinceMs ??= performance.now();
    return performance.now() - this.#sinceMs >= this.#limitMs;
  }
}
