/** Start and stop of a process. */
import type { Logger } from "./log.ts";

/** Stop functions of everything that was started; `stop` calls them in reverse order. */
export class Lifecycle {
  #stops: { component: string; stop: () => Promise<unknown> | unknown }[] = [];
  #draining = false;
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

  /** A component that fails to stop is logged, and the others are stopped nevertheless. */
  async stop(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
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
 * within `drainMs`. An uncaught error ends it at once with exit code 1.
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

  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, "stopping");
    setTimeout(() => {
      log.error({ drainMs }, "stop timed out");
      process.exit(1);
    }, drainMs).unref();
    await lifecycle.stop();
    log.info("stopped");
    process.exit(0);
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);

  try {
    await start(lifecycle);
  } catch (error) {
    fail(error);
  }
}

/** Resolves after `ms`, or as soon as the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}
