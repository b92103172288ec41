/** Durations of an Auction: 30s, 2m, 1h30m, 500ms. */

/**
 * The number of digits is limited: the API server reads a duration that overflows int64 nanoseconds as
 * negative, which passes every upper limit in CEL. The 32 characters of a field give decades at most.
 */
export const DURATION_PATTERN = "^([0-9]{1,5}h|[0-9]{1,7}(ms|s|m))+$";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** In ms; null if the text is not a duration. */
export function parseDurationMs(text: string): number | null {
  if (!new RegExp(DURATION_PATTERN).test(text)) return null;
  let sumMs = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|s|m|h)/g)) {
    sumMs += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return Number.isSafeInteger(sumMs) ? sumMs : null;
}

/** For a text that the schema has accepted. */
export function durationMs(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === null) throw new Error(`not a duration: ${text}`);
  return ms;
}
