/** ALLOWED_ORIGINS: which sites' pages may use an edge. */
import type { Logger } from "../runtime/log.ts";

/**
 * Origins are separated by commas or spaces, and compared whole, as browsers send them: in small letters and without
 * the default port. "*" allows all of them. Any other value, such as a wildcard, would match no page: it is skipped with
 * a warning, because an older schema accepted it and a stored Auction may contain it.
 * @returns null for all
 */
export function readOrigins(text: string, log: Pick<Logger, "warn">): ReadonlySet<string> | null {
  const given = text.split(/[\s,]+/).filter(Boolean);
  if (given.includes("*")) return null;
  const origins = new Set<string>();
  for (const each of given) {
    const origin = originOf(each);
    if (origin !== null) origins.add(origin);
    else
      log.warn(
        { origin: each },
        "ALLOWED_ORIGINS: not an origin like https://shop.example.com: skipped",
      );
  }
  return origins;
}

function originOf(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { origin, protocol, href, hostname } = new URL(text);
  const isWhole = href === `${origin}/` && !hostname.includes("*");
  return isWhole && /^https?:$/.test(protocol) ? origin : null;
}
