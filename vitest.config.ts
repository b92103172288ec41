import { defineConfig } from "vitest/config";

const shared = { testTimeout: 60_000, hookTimeout: 60_000, pool: "forks" } as const;
const CLUSTER = "**/*.cluster.test.ts";
const LEFT_OUT = ["node_modules/**"];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: "machine",
          include: ["**/*.test.ts"],
          exclude: [...LEFT_OUT, CLUSTER],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // API servers and a whole cluster: one at a time, when nothing else wants the processor.
        test: {
          ...shared,
          name: "cluster",
          include: [CLUSTER],
          exclude: LEFT_OUT,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
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
