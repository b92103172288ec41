/** A rate limit: `perSecond` on average, and at most `burst` at once. */
export class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #nowMs: () => number;
  /** Below 0: tokens of the future that are taken already. */
  #tokens: number;
  #atMs: number;

  /** @param nowMs a monotonic clock */
  constructor(perSecond: number, burst: number, nowMs: () => number = () => performance.now()) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#nowMs = nowMs;
    this.#tokens = burst;
    this.#atMs = nowMs();
  }

  /** Takes a token if there is one. @returns whether there was */
  take(): boolean {
    this.#refill();
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  /** Takes a token, in advance if there is none. @returns how long until it is available, in ms */
  reserve(): number {
    this.#refill();
    this.#tokens--;
    return Math.max(0, (-this.#tokens / this.#perSecond) * 1_000);
  }

  #refill(): void {
    const nowMs = this.#nowMs();
    const refilled = this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, refilled);
    this.#atMs = nowMs;
  }
}
