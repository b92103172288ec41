/** Amounts as people type them on the page. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { MAX_MINOR, printMajor } from "../lot/money.ts";

interface Money {
  readonly currency: string;
  readonly minorUnitDigits: number;
}
type Reading = { minor: number } | { choices: number[] } | null;
type Printer = (minor: number) => string;

const page = (await import(new URL("./page/money.js", import.meta.url).href)) as {
  printMajor(minor: number, digits: number): string;
  currencyPrinter(money: Money, locale: string): Printer;
  inputPrinter(money: Money, locale: string): Printer;
  amountReader(money: Money, locale: string): (text: string) => Reading;
};

const EUR = { currency: "EUR", minorUnitDigits: 2 };
const JPY = { currency: "JPY", minorUnitDigits: 0 };
const KWD = { currency: "KWD", minorUnitDigits: 3 };

const CASES: [locale: string, money: Money, text: string, reading: Reading][] = [
  ["en-IE", EUR, "1250", { minor: 125_000 }],
  ["en-IE", EUR, "1,250.50", { minor: 125_050 }],
  ["en-IE", EUR, "1,250", { minor: 125_000 }],
  ["en-IE", EUR, "1,234,567", { minor: 123_456_700 }],
  ["en-IE", EUR, "12.345,67 €", { minor: 1_234_567 }],
  ["de-DE", EUR, "12.345,67 €", { minor: 1_234_567 }],
  ["de-DE", EUR, "EUR 12.345", { minor: 1_234_500 }],
  ["de-DE", EUR, "1,250.50", { minor: 125_050 }],
  ["de-DE", EUR, "12,50", { minor: 1_250 }],
  ["en-IE", EUR, "12,50", { minor: 1_250 }],
  ["de-CH", EUR, "1’250.50", { minor: 125_050 }],
  ["fr-FR", EUR, "1\u202f250,5 €", { minor: 125_050 }],
  ["en-IE", EUR, " 1\u00a0250,5 ", { minor: 125_050 }],
  ["en-IE", EUR, "１２５０．５０", { minor: 125_050 }],
  ["ja-JP", JPY, "￥１２，５００", { minor: 12_500 }],
  ["ja-JP", JPY, "12,500円", null],
  ["ar-EG", EUR, "١٬٢٥٠٫٥٠", { minor: 125_050 }],
  ["en-IN", { currency: "INR", minorUnitDigits: 2 }, "₹12,34,567.50", { minor: 123_456_750 }],
  ["en-IE", EUR, "€5", { minor: 500 }],
  ["en-IE", EUR, "5 eur", { minor: 500 }],
  ["en-IE", EUR, "90071992547409.91", { minor: MAX_MINOR }],

  // The visitor's language has a decimal point here, and this currency not so many decimals.
  ["en-IE", EUR, "1.234", { choices: [123_400] }],
  ["de-DE", EUR, "1,234", { choices: [123_400] }],
  ["en-IE", KWD, "1,250", { choices: [1_250_000, 1_250] }],
  ["en-IE", KWD, "1.250", { choices: [1_250, 1_250_000] }],
  ["en-IE", JPY, "12.000", { choices: [12_000] }],

  ...[
    ["12 50", "1 2345", "1,25,000", "1,250,00", "1.250.50", "1,250 000", "0,125", "0 125"],
    ["", "€", ".", ",", "1.", ".5", "1e3", "-1", "+1", "−1", "NaN", "Infinity", "0x10", "1/2"],
    ["$12", "12 USD", "£5", "€12€", "12 € 50", "1.2345", "12\n50", "1  250", "١", "½", "²", "12²"],
    ["90071992547409.92", "99999999999999999999", "٫", "12'50", "1'250'5"],
  ]
    .flat()
    .map((text): (typeof CASES)[number] => ["en-IE", EUR, text, null]),
];

test.each(CASES)("in %s, of %o, %j is %o", (locale, money, text, reading) => {
  expect(page.amountReader(money, locale)(text)).toEqual(reading);
});

const LOCALES = ["en-IE", "de-DE", "de-CH", "de-AT", "fr-FR", "fr-CH", "pl-PL", "es-ES", "pt-PT"];
const MORE = ["sv-SE", "en-IN", "hi-IN", "ja-JP", "ar-EG", "fa-IR", "he-IL", "bn-BD", "my-MM"];

test("whatever the page prints it reads as the same amount, in every language", () => {
  const locale = fc.constantFrom(...LOCALES, ...MORE);
  const minor = fc.oneof(fc.nat({ max: MAX_MINOR }), fc.nat({ max: 10_000_000 }));
  fc.assert(
    fc.property(minor, locale, fc.constantFrom(EUR, JPY), (amount, language, money) => {
      const read = page.amountReader(money, language);
      for (const printer of [page.currencyPrinter, page.inputPrinter]) {
        const text = printer(money, language)(amount);
        expect([language, text, read(text)]).toEqual([language, text, { minor: amount }]);
      }
    }),
    { numRuns: 300 },
  );
});

test("no text is read as an amount whose digits it does not have", () => {
  const character = fc.constantFrom(..."0123456789.,' €\u00a0１");
  const text = fc.string({ unit: character, maxLength: 14 });
  const locale = fc.constantFrom("en-IE", "de-DE", "fr-FR", "de-CH");
  fc.assert(
    fc.property(text, locale, (typed, language) => {
      const reading = page.amountReader(EUR, language)(typed);
      if (reading === null) return;
      const digits = typed.normalize("NFKC").replaceAll(/\D/g, "").replace(/^0+/, "");
      const minors = "minor" in reading ? [reading.minor] : reading.choices;
      for (const minor of minors) {
        expect(
          String(minor)
            .padEnd(digits.length + 2, "0")
            .startsWith(digits || "0"),
        ).toBe(true);
        expect(String(minor).length - digits.length).toBeLessThanOrEqual(2);
      }
    }),
    { numRuns: 500 },
  );
});

test("printMajor() prints as in the rules", () => {
  fc.assert(
    fc.property(fc.nat({ max: MAX_MINOR }), fc.nat({ max: 4 }), (minor, digits) => {
      expect(page.printMajor(minor, digits)).toBe(printMajor(minor, digits));
    }),
  );
});
