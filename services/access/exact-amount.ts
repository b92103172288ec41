/** JSON.parse may have rounded a number with a fraction or an exponent. */
const MAYBE_ROUNDED = /\d[.eE]/;
const AMOUNT = /"amountMinor"\s*:\s*-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?/g;

/**
 * Whether the `amountMinor` of a JSON text is exactly the integer that it was parsed as: 1e2 and 100.0 are;
 * 1000.00000000000001 and 10000000000000000000001e-19 are not, although they parse to integers. The last of
 * several `amountMinor` counts, as for JSON.parse.
 */
export function isExactAmount(text: string): boolean {
  if (!MAYBE_ROUNDED.test(text)) return true;
  const amount = [...text.matchAll(AMOUNT)].at(-1);
  if (!amount) return false; // The name was written with escapes.
  const [, whole = "", fraction = "", exponent = "0"] = amount;
  const places = fraction.length - Number(exponent);
  return places <= 0 || /^0*$/.test((whole + fraction).slice(-places));
}
