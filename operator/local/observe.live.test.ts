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
  "OBSERVE=1 scrapes every process of two replicas and watches the alerts, each is known by name, and all end with make down (needs prometheus)",
  async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/api/v1`;
    const running = sandbox.up(SAMPLE, {
      OBSERVE: "1",
      PROMETHEUS_PORT: String(port),
      REPLICAS: "2",
    });
    await sandbox.ready(running);
    for (const tier of ["GATEWAY", "BROADCAST", "ARCHIVAL"]) {
      const internal = sandbox.env[`${tier}_INTERNAL_PORT`];
      for (const port of [Number(internal), Number(internal) + 100])
        expect(running.output()).toContain(`http://127.0.0.1:${port}/metrics`);
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
      async () => (await targets()).filter(({ health }) => health === "up").length === 6,
    );
    for (const { labels } of await targets()) expect(labels["auction"]).toBe("spring-sale");
    const { data } = (await (await fetch(`${url}/rules?type=alert`)).json()) as {
      data: { groups: { rules: { name: string }[] }[] };
    };
    const names = data.groups.flatMap(({ rules }) => rules.map(({ name }) => name));
    expect(names.sort()).toEqual(ALERTS.map(({ name }) => name).sort());

    const status = sandbox.gavel(["status"]);
    for (const name of ["gateway", "gateway-2", "broadcast-2", "archival-2"])
      expect(status.stdout).toMatch(new RegExp(`^${name} +ready$`, "m"));
    expect(sandbox.gavel(["logs", "gateway-2"], { LINES: "1" }).stdout).toContain("== gateway-2 ");
    expect(sandbox.gavel(["logs"], { TIER: "gateway" }).stdout).toContain("== gateway-2 ");
    // Both take bids at one port; one that is killed is started again under its name.
    const served = async (n: number): Promise<number> => {
      const internal = Number(sandbox.env["GATEWAY_INTERNAL_PORT"]) + n * 100;
      const metrics = await (await fetch(`http://127.0.0.1:${internal}/metrics`)).text();
      const counts = metrics.matchAll(/^gavel_gateway_bids_total{.*} (\d+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    await until("both have taken bids", async () => {
      // Concurrently, so each on a separate connection.
      const bids = Array.from({ length: 8 }, () => sandbox.bid("oak-table", 12_000, "ada"));
      for (const { status } of await Promise.all(bids)) expect([201, 409]).toContain(status);
      return (await served(0)) > 0 && (await served(1)) > 0;
    });
    process.kill(sandbox.pidOf("gateway-2"), "SIGKILL");
    await until("it runs again", () => running.output().includes("gateway-2 restarted"));

    expect(existsSync(sandbox.folder.prometheusDir)).toBe(true);
    expect(sandbox.gavel(["down"])).toMatchObject({ status: 0 });
    expect(await running.ended).toBe(0);
    expect(await isPortInUse(port)).toBe(false);
    expect(readdirSync(sandbox.folder.runDir)).toEqual([]);
  },
  180_000,
);
