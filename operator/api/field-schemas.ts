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
