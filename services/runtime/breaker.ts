/**
 * A circuit breaker. After some failures in a row it opens: calls fail at once, except one probe at a time.
 * It sets no time-outs: the calls that it counts must have deadlines of their own.
 */
import { Gauge, type Registry } from "prom-client";
import { pause } from "./lifecycle.ts";
import type { Logger } from "./log.ts";

export type BreakerState = "closed" | "half_open" | "open";

interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number;
  /** The first probe is made within this time, at random. Each failed probe doubles the time. */
  readonly waitMs: number;
  /** The longest time within which a probe is made. */
  readonly waitMaxMs: number;
  /** Whether an error means that the dependency did not serve the call. A defect says nothing about it. */
  readonly isOutage: (error: unknown) => boolean;
  /** A monotonic clock. */
  readonly nowMs?: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** @param failures in a row so far */
  readonly onChange?: (state: BreakerState, before: BreakerState, failures: number) => void;
}

/** Thrown in place of a call while the circuit is open. */
export class BreakerOpen extends Error {
  override readonly name = "BreakerOpen";
}

/** States: closed → open → half_open → open … → closed. */
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

  /** How long until a probe may be made; 0 when it may be made now, or none is needed. */
  get waitMs(): number {
    return this.#state === "closed" ? 0 : Math.max(0, this.#probeAtMs - this.#nowMs());
  }

  /**
   * Whether a call may be made. Unless closed, only the first caller after the wait gets true: its call is
   * the probe, and must be followed by `succeeded` or `failed`.
   */
  admits(): boolean {
    if (this.#state === "closed") return true;
    if (this.#state === "half_open" || this.waitMs > 0) return false;
    this.#become("half_open");
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    // The answer to a call from before it opened.
    if (this.#state === "open") return;
    this.#probes = 0;
    this.#become("closed");
  }

  failed(): void {
    this.#failures++;
    // The failure of a call from before it opened: it does not postpone the next probe.
    if (this.#state === "open") return;
    if (this.#state === "closed" && this.#failures < this.#options.failures) return;
    const { waitMs, waitMaxMs, random } = this.#options;
    this.#probeAtMs = this.#nowMs() + fullJitterMs(waitMs, waitMaxMs, this.#probes++, random);
    this.#become("open");
  }

  /** @throws BreakerOpen when the call was not made, or what the call throws */
  async call<T>(work: () => Promise<T>): Promise<T> {
    if (!this.admits()) throw new BreakerOpen("the circuit is open after repeated failures");
    try {
      const result = await work();
      this.succeeded();
      return result;
    } catch (error) {
      // A probe must end, even with a defect.
      if (this.#state === "half_open" || this.#options.isOutage(error)) this.failed();
      throw error;
    }
  }

  #become(state: BreakerState): void {
    const before = this.#state;
    if (before === state) return;
    this.#state = state;
    this.#options.onChange?.(state, before, this.#failures);
  }
}

/**
 * Exponential backoff with full jitter: a random time below a ceiling that doubles with each attempt
 * (0, 1, 2 …), so that callers that failed together do not retry together.
 */
export function fullJitterMs(
  firstMs: number,
  maxMs: number,
  attempt: number,
  random: () => number = Math.random,
): number {
  return random() * Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 30));
}

/** How often `keepProbing` checks whether the breaker has opened. */
const CHECK_EVERY_MS = 50;

/**
 * Makes the probes of a breaker whose other callers only check that it is closed, so that no bid has to be a
 * probe. One probe at a time. Ends when the signal aborts.
 */
export async function keepProbing(
  breaker: Breaker,
  probe: () => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(Math.max(CHECK_EVERY_MS, breaker.waitMs), signal);
    if (signal.aborted || breaker.state === "closed") continue;
    await breaker.call(probe).catch(() => {}); // The breaker counts it.
  }
}

/** For `onChange`: logs the first opening and the closing, not the probes between them. */
export function logChanges(
  log: Logger,
  dependency: string,
): NonNullable<BreakerOptions["onChange"]> {
  return (state, before, failures) => {
    if (before === "closed") log.warn({ dependency, failures }, "circuit opened");
    if (state === "closed") log.info({ dependency }, "circuit closed");
  };
}

const STATES: Record<BreakerState, number> = { closed: 0, half_open: 1, open: 2 };

/** Registers the gauge `<prefix>breaker_state{dependency}`. */
export function registerBreakerGauge(
  registry: Registry,
  prefix: string,
  breakers: Readonly<Record<string, Pick<Breaker, "state">>>,
): void {
  new Gauge({
    name: `${prefix}breaker_state`,
    help: "Circuit breaker of a dependency: 0 closed, calls are made; 1 half-open, one probe is under way; 2 open, calls fail at once.",
    labelNames: ["dependency"],
    registers: [registry],
    collect() {
      for (const [dependency, { state }] of Object.entries(breakers)) {
        this.set({ dependency }, STATES[state]);
      }
    },
  });
}
