/**
 * When a viewer whose socket closed opens another one: PROTOCOL.md's rules for clients, as code. The load
 * generator and the page follow it. Pure.
 */
import { CLOSE_CODES } from "./protocol.ts";

/** The first tries are spread over this time. */
export const SPREAD_MS = 1_000;
/** The longest wait before the second and the third try; then it doubles with each try. */
export const BACKOFF_MIN_MS = 500;
/** The longest wait before any try. */
export const BACKOFF_MAX_MS = 30_000;
/** A first try that is not open by then is given up; for later tries the time doubles. */
export const OPEN_MIN_MS = 1_000;
/** The longest time for any try to open. */
export const OPEN_MAX_MS = 5_000;
/** The wait after a close with `too_many_messages`. */
export const TOO_MANY_MS = 10_000;

/** Whether a viewer reconnects after a close code: not where the viewer itself is at fault. */
export function mayReconnect(code: number): boolean {
  return Object.values(CLOSE_CODES).every((close) => close.code !== code || close.reconnect);
}

/**
 * How long to wait, in ms.
 * @param tries since the last message from a server, this one included: 1, 2, 3 …
 * @param code of the last close; 1006 where there was no close frame
 * @param reason of the last close
 * @param random within [0, 1)
 */
export function waitMs(tries: number, code: number, reason: string, random: () => number): number {
  if (code === CLOSE_CODES.restarting.code) {
    const told = /^\{"retryAfterMs":(\d{1,5})\}$/.exec(reason);
    if (told) return Number(told[1]);
  }
  if (code === CLOSE_CODES.too_many_messages.code) return TOO_MANY_MS;
  const mostMs = tries === 1 ? SPREAD_MS : doubled(BACKOFF_MIN_MS, tries - 3);
  return random() * Math.min(BACKOFF_MAX_MS, mostMs);
}

/** How long a try may take to open, in ms. @param tries as above; 0: the very first socket */
export function openMaxMs(tries: number): number {
  return tries === 0 ? OPEN_MAX_MS : Math.min(OPEN_MAX_MS, doubled(OPEN_MIN_MS, tries - 1));
}

const doubled = (ms: number, times: number) => ms * 2 ** Math.max(0, times);
