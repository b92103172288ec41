import type { DesiredInputs } from "../desired/inputs.ts";

/** What is the same for all Auctions of an operator. */
export interface OperatorSettings extends Omit<
  DesiredInputs,
  "credentials" | "definition" | "external" | "scale" | "serves"
> {
  /** The operator's own version: it is written to every status. */
  readonly version: string;
}
