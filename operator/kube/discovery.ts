/** Which kinds an API server serves, cached for some minutes: an optional CRD may be installed or removed. */
import type { Kind } from "./object.ts";

const SERVED_FOR_MS = 5 * 60_000;
const NOT_SERVED_FOR_MS = 60_000;

export class Discovery {
  #known = new Map<string, { kinds: ReadonlySet<string>; atMs: number }>();
  readonly #fetch: (apiVersion: string) => Promise<readonly string[]>;
  readonly #nowMs: () => number;

  /** @param fetch returns the kinds of an API version; none if it is not served */
  constructor(
    fetch: (apiVersion: string) => Promise<readonly string[]>,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#fetch = fetch;
    this.#nowMs = nowMs;
  }

  /** A positive answer is at most five minutes old, a negative one a minute. */
  async serves({ apiVersion, kind }: Kind): Promise<boolean> {
    const known = this.#known.get(apiVersion);
    const isServed = known?.kinds.has(kind) ?? false;
    const ageMs = known ? this.#nowMs() - known.atMs : Infinity;
    if (ageMs < (isServed ? SERVED_FOR_MS : NOT_SERVED_FOR_MS)) return isServed;
    const kinds = new Set(await this.#fetch(apiVersion));
    this.#known.set(apiVersion, { kinds, atMs: this.#nowMs() });
    return kinds.has(kind);
  }
}
