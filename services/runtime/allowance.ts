/** A rate limit with a fixed window of a second: `take` returns false beyond `perSecond`. */
export class Allowance {
  #left: number;
  #sinceMs: number;
  readonly #perSecond: number;
  readonly #nowMs: () => number;

  /** @param nowMs a monotonic clock */
  constructor(perSecond: number, nowMs: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#left = perSecond;
    this.#nowMs = nowMs;
    this.#sinceMs = nowMs();
  }

  take(): boolean {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sinceMs >= 1_000) {
      this.#sinceMs = nowMs;
      this.#left = this.#perSecond;
    }
    if (this.#left <= 0) return false;
    this.#left--;
    return true;
  }
}
