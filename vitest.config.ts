import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["**/*.test.ts"],
    exclude: ["node_modules/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    maxWorkers: 2,
    coverage: {
      provider: "v8",
      include: ["services/**/*.ts", "operator/**/*.ts", "cli/**/*.ts"],
      exclude: ["**/*.test.ts", "services/testing/**"],
      thresholds: { lines: 80 },
    },
  },
});
