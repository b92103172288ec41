/**
 * Preloaded into a tier (`node --import`): shifts its wall clock by SKEW_MS, and writes the shifted time to
 * SKEW_PROOF_FILE as evidence.
 */
import { writeFileSync } from "node:fs";

const skewMs = Number(process.env["SKEW_MS"]);
const RightDate = Date;

class SkewedDate extends RightDate {
  constructor(...args: unknown[]) {
    if (args.length === 0) super(RightDate.now() + skewMs);
    else super(...(args as [number]));
  }

  static override now(): number {
    return RightDate.now() + skewMs;
  }
}

globalThis.Date = SkewedDate as DateConstructor;
writeFileSync(process.env["SKEW_PROOF_FILE"]!, String(new Date().getTime()));
