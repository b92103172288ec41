/** Building blocks of the schema of an Auction. */
import Type from "typebox";
import { Value } from "typebox/value";
import { DURATION_PATTERN } from "./duration.ts";

/** No unknown fields: a CRD drops them. */
export const strict = { additionalProperties: false };

export const Duration = (options: { description: string; default?: string }) =>
  Type.String({ format: "duration", pattern: DURATION_PATTERN, maxLength: 32, ...options });

/**
 * An optional object. Its default contains the defaults of its properties, because the rules of a CRD see
 * the literal default, before nested defaults are filled in.
 */
export function Section<P extends Type.TProperties>(properties: P, description: string) {
  const completeDefault = Value.Default(Type.Object(properties), {}) as object;
  return Type.Object(properties, { ...strict, description, default: completeDefault });
}

/** Neither Postgres nor an environment variable can hold NUL. */
export const TEXT_PATTERN = "^[^\\x00]*$";

export const Text = (options: { description: string; maxLength: number; default?: string }) =>
  Type.String({ minLength: 1, pattern: TEXT_PATTERN, ...options });

/** The last label begins with a letter: a URL parser takes any other host for an IPv4 address. */
const hostOf = (letters: string, others: string) => {
  const restOfLabel = `([${letters}${others}-]{0,61}[${letters}${others}])?`;
  return `([${letters}${others}]${restOfLabel}\\.)*[${letters}]${restOfLabel}`;
};
const BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const GROUP = "[0-9a-f]{1,4}";
const IPV6 = [
  `(${GROUP}:){7}${GROUP}`,
  `(${GROUP}:){1,7}:`,
  ...[6, 5, 4, 3, 2, 1].map((n) => `(${GROUP}:){1,${n}}(:${GROUP}){1,${7 - n}}`),
  `:(:${GROUP}){1,7}`,
  "::",
].join("|");
const PORT =
  "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const addressOf = (letters: string) =>
  `(${hostOf(letters, "0-9_")}\\.?|(${BYTE}\\.){3}${BYTE}|\\[(${IPV6})\\])(:${PORT})?`;

export const HOST_PATTERN = `^${hostOf("a-z", "0-9")}$`;
/** Browsers send the host of an origin in lower case. */
export const ORIGIN_PATTERN = `^https?://${addressOf("a-z")}$`;
/** Any text that matches can be parsed and fetched: it has no credentials, which fetch() refuses. */
export const URL_PATTERN = `^https?://${addressOf("A-Za-z")}([/?#][!-~]*)?$`;

export const Name = (description: string) =>
  Type.String({ minLength: 1, maxLength: 253, description });

/** A quantity of Kubernetes that is not negative and does not overflow. */
const QUANTITY =
  "^\\+?([0-9]{1,15}(\\.[0-9]{0,9})?|\\.[0-9]{1,9})([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$";

const Quantities = (description: string) =>
  Type.Record(
    Type.String(),
    Type.Union([Type.Integer({ minimum: 0 }), Type.String({ pattern: QUANTITY, maxLength: 32 })], {
      "x-kubernetes-int-or-string": true,
    }),
    { maxProperties: 8, description },
  );

export const Resources = Type.Object(
  {
    requests: Type.Optional(Quantities("Resources that are reserved.")),
    limits: Type.Optional(Quantities("Maximum resources.")),
  },
  { ...strict, description: "Resource requests and limits of each pod, in the Kubernetes format." },
);

export const Image = Type.String({
  minLength: 1,
  maxLength: 512,
  description: "Image. Default: the one that the operator is configured with.",
});
