// Amounts in minor units, never as fractions: printed and read as the visitor's language writes them.
// page-money.test.ts fails where it differs from lot/money.ts.

/** Prints minor units as a decimal amount: (12550, 2) is "125.50". */
export function printMajor(minor, digits) {
  const text = String(minor).padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

function formatOf({ currency, minorUnitDigits: digits }, locale, options) {
  return new Intl.NumberFormat(locale, {
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    ...options,
  });
}

function printerOf(auction, locale, options) {
  const format = formatOf(auction, locale, options);
  // Given as text, Intl formats a decimal exactly.
  return (minor) => format.format(printMajor(minor, auction.minorUnitDigits));
}

/** A function that prints minor units as the visitor's language writes that currency. */
export function currencyPrinter(auction, locale) {
  return printerOf(auction, locale, { style: "currency" });
}

/** A function that prints minor units as one types them: without currency and groups. */
export function inputPrinter(auction, locale) {
  return printerOf(auction, locale, { useGrouping: false });
}

/** Invisible marks of direction, which Intl prints in languages that are written from right to left. */
const MARKS = /[\u061c\u200e\u200f]/g;

/** Replaces full-width digits and all kinds of spaces and apostrophes with ASCII ones. */
const plainOf = (text) =>
  text.normalize("NFKC").replaceAll(MARKS, "").replaceAll("’", "'").replaceAll(/\s/g, " ").trim();

/**
 * A function that reads an amount as people type it, with or without the currency, and with groups of three or
 * those of the visitor's language. If the visitor's language and another one read different amounts, it
 * returns all of them.
 * @returns that function, which returns {minor}; {choices}, in minor units, to ask for; or null for any other text
 */
export function amountReader(auction, locale) {
  const { minorUnitDigits } = auction;
  const local = conventionOf(auction, locale);
  const conventions = [local, { decimal: ".", group: "," }, { decimal: ",", group: "." }];
  const digits = digitsOf(locale);
  const names = namesOf(auction, locale);

  return (typed) => {
    if (/\p{No}/u.test(typed)) return null; // ² and ½ would become digits.
    const plain = plainOf(typed).replaceAll(/\p{Nd}/gu, (digit) => digits.get(digit) ?? digit);
    const text = withoutName(plain, names);
    const readings = conventions.map((convention) => readNumber(text, convention));
    const minors = readings.map((number) => number && minorOf(number, minorUnitDigits));
    const choices = [...new Set(minors.filter((minor) => minor !== null))];
    if (choices.length === 0) return null;
    const isClear = choices.length === 1 && (readings[0] === null || minors[0] !== null);
    return isClear ? { minor: choices[0] } : { choices };
  };
}

function conventionOf(auction, locale) {
  const parts = formatOf(auction, locale, {
    style: "currency",
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  }).formatToParts(1234567.8);
  const partOf = (type) => plainPartOf(parts.find((part) => part.type === type)?.value ?? "");
  const format = new Intl.NumberFormat(locale, { useGrouping: "always" });
  const lengthsOf = (whole) =>
    format
      .formatToParts(BigInt(whole))
      .filter(({ type }) => type === "integer")
      .map(({ value }) => [...value].length);
  return { decimal: partOf("decimal"), group: partOf("group"), lengthsOf };
}

/** As plainOf(), but a separator may be a space. */
const plainPartOf = (text) => plainOf(`0${text}0`).slice(1, -1);

/** The digits 0 to 9 of the visitor's language. */
function digitsOf(locale) {
  const text = new Intl.NumberFormat(locale, { useGrouping: false }).format(9876543210);
  return new Map([...text.replaceAll(MARKS, "")].map((digit, i) => [digit, String(9 - i)]));
}

/** What the currency is called, longest first. */
function namesOf(auction, locale) {
  const names = ["symbol", "narrowSymbol", "code"].map((currencyDisplay) => {
    const format = formatOf(auction, locale, { style: "currency", currencyDisplay });
    return format.formatToParts(0).find(({ type }) => type === "currency")?.value ?? "";
  });
  const plain = [...names, auction.currency].map((name) => plainOf(name).toUpperCase());
  return [...new Set(plain)].filter((name) => name !== "").sort((a, b) => b.length - a.length);
}

function withoutName(text, names) {
  const upper = text.toUpperCase();
  for (const name of names) {
    if (upper.startsWith(name)) return text.slice(name.length).trim();
    if (upper.endsWith(name)) return text.slice(0, -name.length).trim();
  }
  return text;
}

/** @returns the digits before and after the decimal separator; null if the text does not follow this convention */
function readNumber(text, { decimal, group, lengthsOf }) {
  const [head, fraction = "", ...more] = text.split(decimal);
  if (more.length > 0 || (text.includes(decimal) && !/^\d+$/.test(fraction))) return null;
  if (/^\d+$/.test(head)) return { whole: head, fraction };
  for (const separator of [group, " ", "'"]) {
    const groups = head.split(separator);
    if (groups.length === 1 || !groups.every((each) => /^\d+$/.test(each))) continue;
    if (groups[0].startsWith("0")) return null;
    const whole = groups.join("");
    const areThrees = groups.every(({ length }, i) => length === 3 || (i === 0 && length < 3));
    const areLocal = () => String(lengthsOf?.(whole)) === String(groups.map((each) => each.length));
    return areThrees || areLocal() ? { whole, fraction } : null;
  }
  return null;
}

function minorOf({ whole, fraction }, digits) {
  if (whole.length > 16 || fraction.length > digits) return null;
  const minor = Number(whole + fraction.padEnd(digits, "0"));
  return Number.isSafeInteger(minor) ? minor : null;
}
