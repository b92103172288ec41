/**
 * Loaded before a tier (`node --import`): its wall clock is wrong by SKEW_MS, as on a badly set node.
 * Says so in SKEW_PROOF_FILE, in its own words: a test must see that the fault was one.
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
