import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type FaultRunResult, reportOf } from "./report.ts";
import { runFaults } from "./run.ts";

/** The same in every run, so that a red one is about the code; `make faults` draws its own. */
const FIRST_SEED = 20_261;
const DURATION_MS = 75_000;
/** A busy machine injects fewer faults in that time, and continues with the next seed. Each run must pass. */
const RUNS_MAX = 4;
const KINDS_MIN = 12;

async function runPasses(seed: number): Promise<FaultRunResult> {
  const artifactsDir = mkdtempSync(join(tmpdir(), "gavel-faults-kept-"));
  const lines: string[] = [];
  const result = await runFaults({
    seed,
    durationMs: DURATION_MS,
    // Less load than one core can serve, because other tests run at the same time.
    bidsPerSecond: 600,
    outboxMaxBytes: 256 * 1024 * 1024,
    artifactsDir,
    log: (line) => void lines.push(line),
  }).catch((error: unknown) => {
    throw new Error(`${lines.join("\n")}\n${String(error)}`, { cause: error });
  });
  const report = [...lines, ...reportOf(result)].join("\n");
  expect(result.passed, report).toBe(true);
  expect(result.skipped, report).toEqual([]);
  process.stdout.write(`${result.summary}\n`);
  rmSync(artifactsDir, { recursive: true, force: true });
  return result;
}

test(
  "twelve kinds of fault or more, and every bid is where it was acknowledged, once",
  { timeout: RUNS_MAX * 240_000 },
  async () => {
    const kinds = new Set<string>();
    for (let run = 0; kinds.size < KINDS_MIN; run++) {
      expect(run, `only ${[...kinds].join(", ")}`).toBeLessThan(RUNS_MAX);
      const { injectionsByKind } = await runPasses(FIRST_SEED + run);
      for (const kind of injectionsByKind.keys()) kinds.add(kind);
    }
  },
);
