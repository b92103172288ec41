/**
 * Experiments on a real cluster with the real Chaos Mesh, short: that the faults happen, that what must hold
 * holds bid by bid, and that nothing is left behind. `make chaos-all` runs all of them at length.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { stringify } from "yaml";
import { onKind, kindEnv, operatorOnKind } from "../operator/testing/kind.ts";
import { afterFile } from "../services/testing/after-file.ts";
import { until } from "../services/testing/until.ts";
import { experiment } from "./experiment.ts";
import type { ExperimentOptions } from "./experiment-options.ts";
import { VIEWERS_SOON } from "./hypothesis.ts";
import { writeReport } from "./report.ts";
import { NAMESPACE, readScenario, scenarioNames } from "./scenario.ts";
import { createNamespace, needNoNamespace, removeAll } from "./surroundings.ts";
import { Target } from "./target.ts";

const MINUTE_MS = 60_000;
/** A rate that two cores sustain beside the other load of a test machine. */
const RATE = 40;
const VIEWERS = 500;

vi.setConfig({ hookTimeout: 6 * MINUTE_MS });
const target = new Target(`kind-${kindEnv.KIND_CLUSTER}`);
let image: string;

const settings = (): ExperimentOptions => ({
  loadImage: image,
  tierImage: undefined,
  bidsPerSecond: RATE,
  viewers: VIEWERS,
  seed: 7,
  durationSeconds: undefined,
  rounds: 1,
  keep: false,
  log: (line) => void process.stdout.write(`${line}\n`),
});

/**
 * Judges everything but how long viewers are away and the p99 of bids: one round on a busy machine says nothing
 * of these.
 * @throws Error with what is broken
 */
async function holds(name: string): Promise<void> {
  const report = await experiment(target, readScenario(name), settings());
  const folder = mkdtempSync(join(tmpdir(), "gavel-chaos-report-"));
  afterFile(() => rmSync(folder, { recursive: true, force: true }));
  writeReport(report, folder);
  expect(readdirSync(folder).sort()).toEqual([`${name}.json`, `${name}.md`, `${name}.svg`]);
  expect(report.counts.acknowledged).toBeGreaterThan(RATE * 10);
  const broken = report.findings.filter((f) => f.judged === "broken" && f.what !== VIEWERS_SOON);
  if (broken.length > 0) {
    throw new Error(broken.map(({ what, why }) => `${what}: ${why}`).join("\n"));
  }
}

onKind("chaos on a real cluster", () => {
  test(
    "Chaos Mesh accepts every document of every scenario",
    async () => {
      ({ image } = await operatorOnKind());
      afterFile(() => removeAll(target, () => {}).finally(() => target.close()));
      await target.open();
      await removeAll(target, () => {});
      await createNamespace(target);
      const objects = scenarioNames().flatMap((name) => readScenario(name).objects);
      const yaml = objects.map((object) => stringify(object)).join("---\n");
      await target.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", "-"], yaml);
      const misspelt = stringify({
        ...readScenario("postgres-killed").objects[0]!,
        spec: { ...readScenario("postgres-killed").objects[0]!.spec, actoin: "pod-kill" },
      });
      await expect(
        target.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", "-"], misspelt),
      ).rejects.toThrow(/actoin/);
      await expect(needNoNamespace(target)).rejects.toThrow(/another experiment runs there/);
      await removeAll(target, () => {});
    },
    6 * MINUTE_MS,
  );

  test(
    "a namespace that no experiment created is not touched",
    async () => {
      await target.kubectl(["create", "namespace", NAMESPACE]);
      try {
        for (const refused of [needNoNamespace, (of: Target) => removeAll(of, () => {})]) {
          await expect(refused(target)).rejects.toThrow(/was not created by an experiment/);
        }
        expect(await target.kubectl(["get", "namespace", NAMESPACE, "-o", "name"])).toBeTruthy();
      } finally {
        await target.kubectl(["delete", "namespace", NAMESPACE]);
      }
    },
    2 * MINUTE_MS,
  );

  test(
    "Postgres is killed, and no bid fails and none is lost",
    () => holds("postgres-killed"),
    6 * MINUTE_MS,
  );

  test(
    "a broadcast is killed, and all its viewers reconnect and miss nothing",
    async () => {
      await holds("broadcast-killed");
      const left = async () => {
        const text = await target.kubectl(["get", "namespaces", "-o", "name"]);
        return !text.includes(`namespace/${NAMESPACE}\n`);
      };
      await until("the namespace is deleted", left, MINUTE_MS);
    },
    6 * MINUTE_MS,
  );
});
