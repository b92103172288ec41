/** `make up OBSERVE=1` also runs Prometheus with the alerts. */
import { existsSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { ALERTS } from "../../dashboards/alerts.ts";
import { until } from "../../services/testing/until.ts";
import { freePort, isPortInUse } from "../../servers/ports.ts";
import { findProgram } from "../../servers/find-program.ts";
import { UpSandbox } from "../testing/up-sandbox.ts";

const SAMPLE = new URL("../../manifests/samples/spring-sale.yaml", import.meta.url).pathname;

const sandbox = await UpSandbox.create();
sandbox.clearAfterFailures();

interface Scraped {
  readonly health: string;
  readonly labels: Readonly<Record<string, string>>;
}

test.skipIf(findProgram("prometheus") === null)(
  "OBSERVE=1 scrapes every tier and watches the alerts, and ends with make down (needs prometheus)",
  async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/api/v1`;
    const running = sandbox.up(SAMPLE, { OBSERVE: "1", PROMETHEUS_PORT: String(port) });
    await sandbox.ready(running);
    for (const tier of ["GATEWAY", "BROADCAST", "ARCHIVAL"]) {
      const internal = sandbox.env[`${tier}_INTERNAL_PORT`];
      expect(running.output()).toContain(`http://127.0.0.1:${internal}/metrics`);
    }
    expect(running.output()).toContain(`Prometheus: http://localhost:${port}`);

    const targets = async () => {
      const { data } = (await (await fetch(`${url}/targets`)).json()) as {
        data: { activeTargets: Scraped[] };
      };
      return data.activeTargets;
    };
    await until(
      "all tiers are scraped",
      async () => (await targets()).filter(({ health }) => health === "up").length === 3,
    );
    for (const { labels } of await targets()) expect(labels["auction"]).toBe("spring-sale");
    const { data } = (await (await fetch(`${url}/rules?type=alert`)).json()) as {
      data: { groups: { rules: { name: string }[] }[] };
    };
    const names = data.groups.flatMap(({ rules }) => rules.map(({ name }) => name));
    expect(names.sort()).toEqual(ALERTS.map(({ name }) => name).sort());

    expect(existsSync(sandbox.folder.prometheusDir)).toBe(true);
    expect(sandbox.gavel(["down"])).toMatchObject({ status: 0 });
    expect(await running.ended).toBe(0);
    expect(await isPortInUse(port)).toBe(false);
    expect(readdirSync(sandbox.folder.runDir)).toEqual([]);
  },
  180_000,
);
