/** `make faults [DURATION=seconds] [SEED=n]`: breaks everything, and judges every bid. */
import { randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { reportOf, runFaults } from "./run.ts";
import { stopSystems } from "./system.ts";

function numberOf(name: string, otherwise: number): number {
  const text = process.env[name] ?? "";
  const value = text === "" ? otherwise : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${name} must be a number above 0, not ${text}`);
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopSystems().finally(() => process.exit(1)));
}

try {
  const totals = await runFaults({
    seed: numberOf("SEED", randomInt(1, 1_000_000)),
    durationMs: numberOf("DURATION", 120) * 1_000,
    bidsPerSecond: numberOf("BIDS_PER_SECOND", 4_000),
    outboxMaxBytes: numberOf("OUTBOX_MAX_BYTES", 256 * 1024 * 1024),
    keepIn: tmpdir(),
    say,
  });
  for (const line of reportOf(totals)) say(line);
  process.exit(totals.good ? 0 : 1);
} catch (error) {
  say(`faults: ${(error as Error).stack}`);
  process.exit(1);
}
