/**
 * Decimal digits of currencies, by ISO 4217. They are written down here because those of `Intl` are CLDR's, which
 * differ (0 for HUF, IDR and IQD) and may change with each version of Node.
 */

const CURRENCIES_BY_DIGITS = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
  2:
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE " +
    "CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD " +
    "HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP " +
    "MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR " +
    "SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED " +
    "VES WST XCD XCG YER ZAR ZMW ZWG ZWL",
  3: "BHD IQD JOD KWD LYD OMR TND",
  4: "CLF UYW",
} as const;

const DIGITS = new Map(
  Object.entries(CURRENCIES_BY_DIGITS).flatMap(([digits, codes]) =>
    codes.split(" ").map((code) => [code, Number(digits)] as const),
  ),
);

/** Null if ISO 4217 does not have the currency, or defines no digits for it. */
export function digitsOf(currency: string): number | null {
  return DIGITS.get(currency) ?? null;
}

interface Money {
  readonly currency: string;
  readonly minorUnitDigits?: number | undefined;
}

/**
 * For a validated spec. Digits that it sets have priority: an earlier version stored 2 where none were set, for
 * every currency, and amounts that were bid since then are in that unit.
 */
export function minorUnitDigitsOf({ currency, minorUnitDigits }: Money): number {
  const digits = minorUnitDigits ?? digitsOf(currency);
  if (digits === null) throw new Error(`the digits of ${currency} are not known`);
  return digits;
}

/** CEL: whether `currency` has these digits. All codes have three letters, as the schema says of `currency`. */
const isOneOf = (currency: string, digits: keyof typeof CURRENCIES_BY_DIGITS) =>
  `'${CURRENCIES_BY_DIGITS[digits]}'.contains(${currency})`;

/** CEL: the digits of `currency`; `otherwise` if ISO 4217 does not define them. */
export const digitsCel = (currency: string, otherwise: string): string =>
  ([0, 2, 3, 4] as const).map((digits) => `${isOneOf(currency, digits)} ? ${digits} : `).join("") +
  otherwise;
