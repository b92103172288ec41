/**
 * When a viewer whose socket ended opens another one: what PROTOCOL.md asks of clients, as code. The load
 * follows it, and so does the page with a copy of its own. Pure.
 */
import { CLOSE_CODES } from "./protocol.ts";

/** All who lost a process come back within this time. */
export const SPREAD_MS = 1_000;
/** Before the second and the third try, at most; then twice as long each time, */
export const BACKOFF_MIN_MS = 500;
/** and at most so long. */
export const BACKOFF_MAX_MS = 30_000;
/** A first try that is not open by then is given up; the next ones twice as late each time, */
export const OPEN_MIN_MS = 1_000;
/** and at the latest so late. */
export const OPEN_MAX_MS = 5_000;
/** After a socket that said too much. */
export const TOO_MANY_MS = 10_000;

/** Whether a viewer with that close comes back at all: some say that the viewer itself is at fault. */
export function comesBack(code: number): boolean {
  return Object.values(CLOSE_CODES).every((close) => close.code !== code || close.reconnect);
}

/**
 * How long to wait, in ms.
 * @param tries since something was heard, this one included: 1, 2, 3 …
 * @param code with which the last socket was closed; 1006 where there was none
 * @param reason that came with the code
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
