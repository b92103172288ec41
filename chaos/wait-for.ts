import { setTimeout as sleep } from "node:timers/promises";

/** An experiment was told to stop: everything that waits ends with this. */
export class Stopped extends Error {}

let stopped = false;

/** Makes every wait of this process end; only what was made is removed then. */
export function stopWaiting(): void {
  stopped = true;
}

/** Whether a stop was requested: nothing new may start. */
export const wasStopped = (): boolean => stopped;

/**
 * Polls until a condition holds. Seldom, because the system under test may share the cores.
 * @throws Error with the last failure, after `timeoutMs`; Stopped
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs: number,
  everyMs = 500,
): Promise<Exclude<T, null | undefined | false>> {
  const deadline = Date.now() + timeoutMs;
  for (let last: unknown = "not yet"; ;) {
    if (stopped) throw new Stopped(`stopped while waiting until ${what}`);
    try {
      const value = await condition();
      if (value) return value as Exclude<T, null | undefined | false>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(
        `waited ${timeoutMs / 1_000} s without success until ${what}: ${String(last)}`,
      );
    }
    await sleep(everyMs);
  }
}

/** @throws Stopped */
export async function passTime(ms: number): Promise<void> {
  const untilMs = Date.now() + ms;
  while (Date.now() < untilMs) {
    if (stopped) throw new Stopped("stopped");
    await sleep(Math.min(250, untilMs - Date.now() + 1));
  }
}
