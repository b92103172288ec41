/** ALLOWED_ORIGINS: which sites' pages may use an edge. */

/**
 * Origins are separated by commas or spaces, and compared whole. "*" allows all of them.
 * @returns null for all
 */
export function readOrigins(text: string): ReadonlySet<string> | null {
  const origins = text.split(/[\s,]+/).filter(Boolean);
  return origins.includes("*") ? null : new Set(origins);
}
