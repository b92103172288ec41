/** Which kinds an API server has, remembered for some minutes: an optional CRD may come and go. */
import type { Kind } from "./object.ts";

const SERVED_FOR_MS = 5 * 60_000;
const NOT_SERVED_FOR_MS = 60_000;

export class Discovery {
  #known = new Map<string, { kinds: ReadonlySet<string>; atMs: number }>();
  readonly #ask: (apiVersion: string) => Promise<readonly string[]>;
  readonly #nowMs: () => number;

  /** @param ask the kinds of a group's version; none where it is not served */
  constructor(
    ask: (apiVersion: string) => Promise<readonly string[]>,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#ask = ask;
    this.#nowMs = nowMs;
  }

  /** As of five minutes ago at most where it is served, one where it is not. */
  async serves({ apiVersion, kind }: Kind): Promise<boolean> {
    const known = this.#known.get(apiVersion);
    const isServed = known?.kinds.has(kind) ?? false;
    const ageMs = known ? this.#nowMs() - known.atMs : Infinity;
    if (ageMs < (isServed ? SERVED_FOR_MS : NOT_SERVED_FOR_MS)) return isServed;
    const kinds = new Set(await this.#ask(apiVersion));
    this.#known.set(apiVersion, { kinds, atMs: this.#nowMs() });
    return kinds.has(kind);
  }
}
