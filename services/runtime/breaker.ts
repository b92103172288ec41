/**
 * A circuit breaker: after some failures in a row a dependency is left alone, and one caller at a time
 * is let through to see whether it answers again. It decides nothing about time-outs: what it counts
 * must have deadlines of its own.
 */
import { Gauge, type Registry } from "prom-client";
import { pause } from "./lifecycle.ts";
import type { Logger } from "./log.ts";

export type BreakerState = "closed" | "half_open" | "open";

export interface BreakerOptions {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** The first probe comes at a random time within it; each later one within twice as long as before, */
  readonly waitMs: number;
  /** up to this. */
  readonly waitMaxMs: number;
  /** A clock that never goes back. */
  readonly nowMs?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly onChange?: (state: BreakerState, before: BreakerState) => void;
}

/** Thrown in place of a call that was not made. */
export class BreakerOpen extends Error {
  override readonly name = "BreakerOpen";
}

/** How often the state changes by failures: closed → open → half_open → open … → closed. */
export class Breaker {
  #state: BreakerState = "closed";
  #failures = 0;
  #probes = 0;
  #probeAtMs = 0;
  readonly #options: BreakerOptions;
  readonly #nowMs: () => number;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** How long until a probe may go out; 0 when it may now, or none is needed. */
  get waitMs(): number {
    return this.#state === "closed" ? 0 : Math.max(0, this.#probeAtMs - this.#nowMs());
  }

  /**
   * Whether a call may be made. While it is not closed only the first to ask after the wait may: that
   * call is the probe, and must be followed by `succeeded` or `failed`.
   */
  admits(): boolean {
    if (this.#state === "closed") return true;
    if (this.#state === "half_open" || this.waitMs > 0) return false;
    this.#become("half_open");
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    // An answer to a call that was made before it opened says nothing about now.
    if (this.#state === "open") return;
    this.#probes = 0;
    this.#become("closed");
  }

  failed(): void {
    this.#failures++;
    // Calls that were made before it opened fail after it: they move nothing.
    if (this.#state === "open") return;
    if (this.#state === "closed" && this.#failures < this.#options.failures) return;
    const { waitMs, waitMaxMs, random } = this.#options;
    this.#probeAtMs = this.#nowMs() + fullJitterMs(waitMs, waitMaxMs, this.#probes++, random);
    this.#become("open");
  }

  /** Makes a call that has a deadline. @throws BreakerOpen, or what the call throws */
  async call<T>(work: () => Promise<T>): Promise<T> {
    if (!this.admits()) throw new BreakerOpen("it did not answer, and is left alone for a moment");
    try {
      const result = await work();
      this.succeeded();
      return result;
    } catch (error) {
      this.failed();
      throw error;
    }
  }

  #become(state: BreakerState): void {
    const before = this.#state;
    if (before === state) return;
    this.#state = state;
    this.#options.onChange?.(state, before);
  }
}

/**
 * Exponential backoff with full jitter: a random time below a ceiling that doubles with each attempt
 * (0, 1, 2 …). Those who failed together do not return together.
 */
export function fullJitterMs(
  firstMs: number,
  maxMs: number,
  attempt: number,
  random: () => number = Math.random,
): number {
  return random() * Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
}

/** How often a closed breaker is looked at. */
const LOOK_MS = 50;

/**
 * Probes for a breaker whose other callers only look whether it is closed, so that no caller's own work
 * is what finds out. One probe at a time. Ends when the signal aborts.
 */
export async function keepProbing(
  breaker: Breaker,
  probe: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(Math.max(LOOK_MS, breaker.waitMs), signal);
    if (signal.aborted || breaker.state === "closed") continue;
    await breaker.call(probe).catch(() => {}); // It is counted, and tried again.
  }
}

/** For `onChange`: a line when it opens, and one when it is closed again; none for the probes between. */
export function logChanges(
  log: Logger,
  dependency: string,
): NonNullable<BreakerOptions["onChange"]> {
  return (state, before) => {
    if (before === "closed") log.warn({ dependency }, "it does not answer: it is left alone");
    if (state === "closed") log.info({ dependency }, "it answers again");
  };
}

const STATES: Record<BreakerState, number> = { closed: 0, half_open: 1, open: 2 };

/** Shows breakers by the name of their dependency: `<prefix>breaker_state{dependency}`. */
export function showBreakers(
  registry: Registry,
  prefix: string,
  breakers: Readonly<Record<string, Pick<Breaker, "state">>>,
): void {
  new Gauge({
    name: `${prefix}breaker_state`,
    help: "0 closed: calls are made. 1 half-open: one call looks whether it answers. 2 open: none is.",
    labelNames: ["dependency"],
    registers: [registry],
    collect() {
      for (const [dependency, { state }] of Object.entries(breakers)) {
        this.set({ dependency }, STATES[state]);
      }
    },
  });
}
