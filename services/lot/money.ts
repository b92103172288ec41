/**
 * Amounts are integers in minor units (cents), which JavaScript, JSON, Lua and a Postgres bigint represent
 * exactly.
 */

/** The largest safe integer of a double: 2^53 − 1. */
export const MAX_MINOR = Number.MAX_SAFE_INTEGER;

export function isMinor(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Formats minor units as a decimal amount: (12550, 2) is "125.50". */
export function printMajor(minor: number, digits: number): string {
  const text = String(minor).padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}
