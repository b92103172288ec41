/** Instants of an Auction: RFC 3339, to the millisecond. */

/**
 * Narrower than the format `date-time`, whose readers differ: the one of JSON Schema takes time zone names and leap
 * seconds, the API server's takes year 0 and offsets of 99 hours, CEL counts nanoseconds. A text that matches and
 * is a day of the calendar means the same to all of them. The years are those for which the sum with any duration
 * can be stored, and printed with four digits.
 */
export const INSTANT_PATTERN =
  "^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])" +
  "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

const INSTANT = new RegExp(INSTANT_PATTERN);

/** In ms since 1970; null if the text is not an instant. */
export function parseInstantMs(text: string): number | null {
  if (!INSTANT.test(text)) return null;
  // Date.parse() takes the 30th of February for the 2nd of March.
  const day = text.slice(0, 10);
  const isDay = new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
  return isDay ? Date.parse(text) : null;
}

/** Of a field that may be absent. */
export function optionalInstantMs(text: string | undefined): number | null {
  return text === undefined ? null : instantMs(text);
}

/**
 * For a text that the schema has accepted. The schema of an earlier version also accepted more digits of a
 * second, and a stored Auction keeps them.
 */
export function instantMs(text: string): number {
  const ms = parseInstantMs(text) ?? Date.parse(text);
  if (Number.isNaN(ms)) throw new Error(`not an instant: ${text}`);
  return ms;
}
