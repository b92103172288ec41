/** How a process of ours starts and stops. */
import type { Logger } from "./log.ts";

/** What was started, in order; stopped in reverse. */
export class Lifecycle {
  #stops: { what: string; stop: () => Promise<unknown> | unknown }[] = [];
  #draining = false;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** True once the process was told to stop: readiness says no from then on. */
  get draining(): boolean {
    return this.#draining;
  }

  onStop(what: string, stop: () => Promise<unknown> | unknown): void {
    this.#stops.push({ what, stop });
  }

  /** Stops everything, last started first; a stop that fails is logged and does not stop the rest. */
  async stop(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    for (const { what, stop } of this.#stops.reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#log.error({ err: error, what }, "did not stop cleanly");
      }
    }
  }
}

/**
 * Runs a process: `start` opens what it needs and says how each thing is stopped. SIGTERM and SIGINT
 * stop it within `drainMs`; a bug stops it at once, with exit code 1.
 */
export async function runProcess(
  log: Logger,
  drainMs: number,
  start: (lifecycle: Lifecycle) => Promise<void>,
): Promise<void> {
  const lifecycle = new Lifecycle(log);
  const fail = (error: unknown): void => {
    log.fatal({ err: error }, "stopped by an error");
    process.exit(1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);

  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, "stopping");
    setTimeout(() => {
      log.error({ drainMs }, "did not stop in time");
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

/** Waits, or until the signal aborts: for loops that must stop promptly. */
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
