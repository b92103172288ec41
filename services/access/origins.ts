/** ALLOWED_ORIGINS: which sites' pages may use an edge. */
import { ORIGIN_PATTERN } from "./url-patterns.ts";

const ORIGIN = new RegExp(ORIGIN_PATTERN);

/**
 * Origins are separated by commas or spaces, and compared whole, as browsers send them: in small letters and without
 * the default port. "*" allows all of them.
 * @returns null for all
 * @throws Error for anything else, such as a wildcard, which would match no page
 */
export function readOrigins(text: string): ReadonlySet<string> | null {
  const origins = text.split(/[\s,]+/).filter(Boolean);
  return origins.includes("*") ? null : new Set(origins.map(originOf));
}

function originOf(text: string): string {
  if (!ORIGIN.test(text)) {
    throw new Error(`ALLOWED_ORIGINS: ${text} is not an origin, like https://shop.example.com`);
  }
  // A label that begins with xn-- and is no punycode: no browser has a page of it.
  return URL.canParse(text) ? new URL(text).origin : text;
}
