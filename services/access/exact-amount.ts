/** A number with a fraction or an exponent, which JSON.parse may have rounded. A string may contain the same text. */
const MAYBE_ROUNDED = /\d[.eE]/;
const ROUNDED_VALUE = /[:,[]\s*-?\d+[.eE]/;
const NUMBER = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;
/** The tokens of JSON, without commas. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]|[^\s"{}[\],:]+/g;

/**
 * Whether the `amountMinor` of a JSON object is exactly the integer that it was parsed as: 1e2 and 100.0 are;
 * 1000.00000000000001 and 10000000000000000000001e-19 are not, although they parse to integers. The last of
 * several `amountMinor` counts, as for JSON.parse.
 * @param text an object that JSON.parse has taken
 */
export function isExactAmount(text: string): boolean {
  if (!MAYBE_ROUNDED.test(text) || !ROUNDED_VALUE.test(text)) return true;
  const number = NUMBER.exec(amountTokenOf(text) ?? "");
  if (!number) return false;
  const [, whole = "", fraction = "", exponent = "0"] = number;
  const places = fraction.length - Number(exponent);
  return places <= 0 || /^0*$/.test((whole + fraction).slice(-places));
}

/** The value of `amountMinor` of the outermost object, as it is written. A name may be written with escapes. */
function amountTokenOf(text: string): string | undefined {
  let depth = 0;
  let name: unknown;
  let before = "";
  let amount: string | undefined;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === ":") name = depth === 1 ? JSON.parse(before) : undefined;
    else if (before === ":" && name === "amountMinor") amount = token;
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    before = token;
  }
  return amount;
}
