/** `make faults [DURATION=seconds] [SEED=n]`: injects faults into every process and link of an auction under load, and judges every bid. */
import { randomInt } from "node:crypto";
import { tmpdir } from "node:os";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";
import { DEFAULT_OUTBOX_MAX_BYTES } from "../services/store/memory-budget.ts";
import { reportOf } from "./report.ts";
import { runFaults } from "./run.ts";
import { stopSystems } from "./system.ts";

function numberOf(name: string, defaultValue: number): number {
  const text = process.env[name] ?? "";
  const value = text === "" ? defaultValue : Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`${name} must be a positive number, got ${text}`);
}

tolerateClosedPipe();
const log = (line: string): void => void process.stdout.write(`${line}\n`);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => void stopSystems().finally(() => process.exit(1)));
}

try {
  const result = await runFaults({
    seed: numberOf("SEED", randomInt(1, 1_000_000)),
    durationMs: numberOf("DURATION", 120) * 1_000,
    bidsPerSecond: numberOf("BIDS_PER_SECOND", 4_000),
    outboxMaxBytes: numberOf("OUTBOX_MAX_BYTES", DEFAULT_OUTBOX_MAX_BYTES),
    artifactsDir: tmpdir(),
    log,
  });
  for (const line of reportOf(result)) log(line);
  process.exit(result.passed ? 0 : 1);
} catch (error) {
  log(`faults: ${(error as Error).stack}`);
  process.exit(1);
}
