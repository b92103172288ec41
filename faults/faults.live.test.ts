import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { reportOf } from "./report.ts";
import { runFaults } from "./run.ts";

/** The same in every run, so that a red one is about the code; `make faults` draws its own. */
const SEED = 20_261;
const DURATION_MS = 75_000;

test(
  "more than twelve kinds of fault, and every bid is where it was acknowledged, once",
  { timeout: 300_000 },
  async () => {
    const artifactsDir = mkdtempSync(join(tmpdir(), "gavel-faults-kept-"));
    const lines: string[] = [];
    const result = await runFaults({
      seed: SEED,
      durationMs: DURATION_MS,
      // Below what one core bears: other tests run beside it.
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
    expect(result.injectionsByKind.size, report).toBeGreaterThanOrEqual(12);
    process.stdout.write(`${result.summary}\n`);
    rmSync(artifactsDir, { recursive: true, force: true });
  },
);
