/** Durations as people write them in an Auction: 30s, 2m, 1h30m, 500ms. */

/**
 * Few digits, on purpose: an API server reads more nanoseconds than an int64 holds as a negative duration,
 * which is below every limit that CEL sets. In the 32 characters of a field these sum to decades at most.
 */
export const DURATION_PATTERN = "^([0-9]{1,5}h|[0-9]{1,7}(ms|s|m))+$";

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** In ms; null where the text is not a duration. */
export function parseDurationMs(text: string): number | null {
  if (!new RegExp(DURATION_PATTERN).test(text)) return null;
  let sumMs = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(ms|s|m|h)/g)) {
    sumMs += Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return Number.isSafeInteger(sumMs) ? sumMs : null;
}

/** For a text that the schema has already accepted. */
export function durationMs(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === null) throw new Error(`not a duration: ${text}`);
  return ms;
}
