import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// Generous: a test fails because something is wrong, not because the machine is busy. There are no retries.
const shared = {
  testTimeout: 120_000,
  hookTimeout: 120_000,
  pool: "forks",
  // The tests start hundreds of Node processes: with their code compiled already, each starts in half the time.
  env: { NODE_COMPILE_CACHE: join(tmpdir(), "gavel-compile-cache") },
} as const;
const LIVE = "**/*.live.test.ts";
const CLUSTER = "**/*.cluster.test.ts";
const LEFT_OUT = ["node_modules/**"];

/** On two cores: live tests spend most of their time waiting. */
const WORKERS = 3;
const hasCluster = process.env["KIND_CLUSTER"] !== undefined;

/** These files start first: a long file that starts last would run alone at the end. */
const LONGEST_FIRST = [
  "operator/control/controller.cluster.test.ts",
  "services/end-to-end/loss.live.test.ts",
  "faults/faults.live.test.ts",
  "operator/local/up.live.test.ts",
  "cli/commands/check.live.test.ts",
  "services/archival/pipeline/pipeline.live.test.ts",
  "services/end-to-end/crash.live.test.ts",
  "services/broadcast/resume.live.test.ts",
  "dashboards/dashboards.live.test.ts",
  "dashboards/metrics.live.test.ts",
  "docs.live.test.ts",
  "services/end-to-end/hung.live.test.ts",
  "services/end-to-end/backpressure.live.test.ts",
];

/** Measures Leases of two seconds, so it starts last, when the other tests have ended or are about to. */
const LAST = "operator/kube/kube.cluster.test.ts";

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const missing = [...LONGEST_FIRST, LAST].filter(
      (file) => !existsSync(`${import.meta.dirname}/${file}`),
    );
    if (missing.length > 0) throw new Error(`vitest.config.ts names ${missing.join(", ")}`);
    const rank = ({ moduleId }: TestSpecification): number => {
      const file = relative(import.meta.dirname, moduleId);
      if (file === LAST) return Infinity;
      const place = LONGEST_FIRST.indexOf(file);
      return place === -1 ? LONGEST_FIRST.length : place;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        // Functions and files: one process runs many files, because each process takes longer to start than they take.
        test: {
          ...shared,
          name: "pure",
          include: ["**/*.test.ts"],
          exclude: [...LEFT_OUT, LIVE, CLUSTER],
          isolate: false,
          setupFiles: "services/testing/leave-real-timers.ts",
          maxWorkers: WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Real servers and processes.
        test: {
          ...shared,
          name: "live",
          include: [LIVE],
          exclude: LEFT_OUT,
          globalSetup: "services/testing/fill-compile-cache.ts",
          maxWorkers: WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // API servers, beside the other tests. With a whole cluster: one file at a time, after everything else.
        test: {
          ...shared,
          name: "cluster",
          include: [CLUSTER],
          exclude: LEFT_OUT,
          maxWorkers: hasCluster ? 1 : WORKERS,
          sequence: { groupOrder: hasCluster ? 1 : 0 },
        },
      },
    ],
    coverage: {
      provider: "v8",
      include: ["services/**/*.ts", "operator/**/*.ts", "cli/**/*.ts"],
      exclude: ["**/*.test.ts", "services/testing/**", "operator/testing/**"],
      thresholds: { lines: 80 },
    },
  },
});
