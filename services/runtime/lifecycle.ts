/** Start and stop of a process. */
import type { Logger } from "./log.ts";

/** Stop functions of everything that was started; `stop` calls them in reverse order. */
export class Lifecycle {
  #stops: { component: string; stop: () => Promise<unknown> | unknown }[] = [];
  #draining = false;
  #stopped: Promise<void> | null = null;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** True once stopping has begun: /readyz then answers 503. */
  get draining(): boolean {
    return this.#draining;
  }

  onStop(component: string, stop: () => Promise<unknown> | unknown): void {
    this.#stops.push({ component, stop });
  }

  /**
   * Stops everything once; every call resolves when that has ended. A component that fails to stop is logged, and
   * the others are stopped nevertheless.
   */
  stop(): Promise<void> {
    this.#draining = true;
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async #stopAll(): Promise<void> {
    for (const { component, stop } of this.#stops.reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#log.error({ err: error, component }, "component failed to stop");
      }
    }
  }
}

/**
 * Runs a process: `start` opens its components and registers how each is stopped. SIGTERM and SIGINT stop it
 * within `drainMs`; further signals change nothing. An uncaught error ends it at once with exit code 1.
 */
export async function runProcess(
  log: Logger,
  drainMs: number,
  start: (lifecycle: Lifecycle) => Promise<void>,
): Promise<void> {
  const lifecycle = new Lifecycle(log);
  const fail = (error: unknown): void => {
    log.fatal({ err: error }, "uncaught error");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);

  const starting = start(lifecycle);
  let isStopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (isStopping) return log.info({ signal }, "already stopping");
    isStopping = true;
    log.info({ signal }, "stopping");
    setTimeout(() => {
      log.error({ drainMs }, "stop timed out");
      process.exit(1);
    }, drainMs).unref();
    await starting; // What is being opened is stopped, too. A failed start ends the process below.
    await lifecycle.stop();
    log.info("stopped");
    process.exit(0);
  };
  process.on("SIGTERM", (signal) => void stop(signal));
  process.on("SIGINT", (signal) => void stop(signal));

  try {
    await starting;
  } catch (error) {
    fail(error);
  }
}

/** Resolves after `ms`, or as soon as the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Wake().wait(signal, ms);
}

/** Resolves once the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Wake().wait(signal);
}

/** Wakes a loop that waits for another part of the process. */
export class Wake {
  #wake: () => void = () => {};

  /** Ends the wait that began last. */
  wake(): void {
    this.#wake();
  }

  /** Resolves at the next `wake`, when the signal aborts, or after `ms`. It leaves no timer and no listener behind. */
  wait(signal?: AbortSignal, ms?: number): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = ms === undefined ? undefined : setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
      this.#wake = done;
      function done(): void {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      }
    });
  }
}
