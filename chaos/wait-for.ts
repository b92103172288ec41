import { setTimeout as sleep } from "node:timers/promises";

/** An experiment was told to stop: everything that waits ends with this. */
export class Stopped extends Error {}

let stopping = false;
let stopped = false;

/** Makes every wait of this process end. */
export function stopWaiting(): void {
  stopping = true;
  stopped = true;
}

/** Whether it was ever told to stop: nothing new may begin. */
export const wasStopped = (): boolean => stopped;

/** What is done after a stop waits again. */
export function waitAgain(): void {
  stopping = false;
}

/**
 * Asks now and then until a condition holds; seldom, as what is measured runs on the same cores.
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
    if (stopping) throw new Stopped(`stopped while waiting until ${what}`);
    try {
      const value = await condition();
      if (value) return value as Exclude<T, null | undefined | false>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${timeoutMs / 1_000} s in vain until ${what}: ${String(last)}`);
    }
    await sleep(everyMs);
  }
}

/** @throws Stopped */
export async function passTime(ms: number): Promise<void> {
  const untilMs = Date.now() + ms;
  while (Date.now() < untilMs) {
    if (stopping) throw new Stopped("stopped");
    await sleep(Math.min(250, untilMs - Date.now() + 1));
  }
}
