/** Hosts, origins and URLs of http and https, as regular expressions that a CRD can have, too. */

/**
 * The last label must not look like a number: a URL parser takes a host that ends in a number, like 2026 or 0x1f,
 * for an IPv4 address.
 */
const hostOf = (letters: string, others: string) => {
  const any = letters + others;
  const restOfLabel = `([${any}-]{0,61}[${any}])?`;
  const lettersButX = letters.replace("a-z", "a-wyz").replace("A-Z", "A-WYZ");
  const restAfterDigits = `(-[${any}-]{0,30}[${any}]|[${lettersButX}]([${any}-]{0,30}[${any}])?)`;
  return `([${any}]${restOfLabel}\\.)*([${letters}]${restOfLabel}|[0-9]{1,31}${restAfterDigits})`;
};
const BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const GROUP = "[0-9A-Fa-f]{1,4}";
const IPV6 = [
  `(${GROUP}:){7}${GROUP}`,
  `(${GROUP}:){1,7}:`,
  ...[6, 5, 4, 3, 2, 1].map((n) => `(${GROUP}:){1,${n}}(:${GROUP}){1,${7 - n}}`),
  `:(:${GROUP}){1,7}`,
  "::",
].join("|");
const PORT =
  "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const ADDRESS = `(${hostOf("A-Za-z", "0-9_")}\\.?|(${BYTE}\\.){3}${BYTE}|\\[(${IPV6})\\])(:${PORT})?`;

export const HOST_PATTERN = `^${hostOf("a-z", "0-9")}$`;
export const ORIGIN_PATTERN = `^https?://${ADDRESS}$`;
/** Any text that matches can be parsed and fetched: it has no credentials, which fetch() refuses. */
export const URL_PATTERN = `^https?://${ADDRESS}([/?#][!-~]*)?$`;
