// Amounts in minor units, never as fractions: parsing and printing. page-rules.test.ts fails where it differs from
// lot/money.ts.

/** Parses "1250", "1250.5" or "1250,50" as minor units; null for any other text. */
export function readAmount(text, digits) {
  const plain = text.trim().replaceAll(/[\s\u00a0\u202f']/g, "");
  return parseMajor(/^\d+,\d+$/.test(plain) ? plain.replace(",", ".") : plain, digits);
}

export function parseMajor(text, digits) {
  const match = /^(\d{1,16})(?:\.(\d+))?$/.exec(text);
  if (!match) return null;
  const [, whole, fraction = ""] = match;
  if (fraction.length > digits) return null;
  const minor = Number(whole + fraction.padEnd(digits, "0"));
  return Number.isSafeInteger(minor) ? minor : null;
}

/** Prints minor units as a decimal amount: (12550, 2) is "125.50". */
export function printMajor(minor, digits) {
  const text = String(minor).padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** A function that prints minor units as the viewer's language writes that currency. */
export function currencyPrinter({ currency, minorUnitDigits: digits }, locale = undefined) {
  const format = new Intl.NumberFormat(locale, {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  // Given as text, Intl formats a decimal exactly.
  return (minor) => format.format(printMajor(minor, digits));
}
