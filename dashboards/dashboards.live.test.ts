/** Every query of every dashboard, asked of a real Prometheus that scrapes real tiers under traffic. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../servers/find-program.ts";
import { startObservedOperator } from "../operator/testing/observed-operator.ts";
import { afterFile } from "../services/testing/after-file.ts";
import { startTestPrometheus, type TestPrometheus } from "./test-prometheus.ts";
import { startAuction } from "../services/testing/running-auction.ts";
import { lotsFor, startTraffic } from "../services/testing/traffic.ts";
import { until } from "../services/testing/until.ts";
import { type DashboardQuery, dashboardQueries, queriesWithoutValue } from "./dashboard-queries.ts";
import { drawDashboard } from "./draw-dashboard.ts";
import { GROUPS } from "./rule-files.ts";

const LOTS = lotsFor(20, 120); // one closes every second, so that the clock has something to do
const NAME = "spring-fair";
const WAIT_MS = 90_000;
/** Prometheus scrapes every second: the same queries have no new value earlier. */
const QUERY_INTERVAL_MS = 1_000;
/** A few rounds within each scrape give every panel a value. */
const TRAFFIC_PAUSE_MS = 200;

/** Chaos Mesh is on clusters only: its metric as its controller shows it. */
async function startChaosMesh(): Promise<string> {
  const labels = `namespace="fairs",kind="PodChaos",phase="Running"`;
  const server = createServer((_, response) => {
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(`chaos_controller_manager_chaos_experiments{${labels}} 1\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterFile(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe.skipIf(findProgram("prometheus") === null)("dashboards (needs prometheus)", () => {
  let bare: TestPrometheus;
  let labelled: TestPrometheus;
  beforeAll(async () => {
    const auction = await startAuction({ lots: LOTS }, { MESSAGES_PER_SECOND: "1000" });
    const tiers = Object.values(auction.internalUrls).map((url) => new URL(url).host);
    const addresses = [...tiers, await startObservedOperator(), await startChaosMesh()];
    const withLabels = (labels: Record<string, string>) =>
      startTestPrometheus(addresses.map((address) => ({ address, labels })));
    bare = await withLabels({});
    labelled = await withLabels({ namespace: "fairs", auction: NAME });
    const names = Array.from({ length: 20 }, (_, n) => `bidder-${n}`);
    const lotIds = LOTS.slice(0, 20).map(({ lotId }) => lotId);
    const traffic = startTraffic(auction, lotIds, names, TRAFFIC_PAUSE_MS);
    afterFile(() => traffic.stop());
  });

  test.each([
    ["All, on one machine without labels", () => bare, ".*"],
    ["one auction, as on a cluster", () => labelled, NAME],
  ])(
    "no panel is empty: %s",
    async (_what, prometheus, chosen) => {
      let left = dashboardQueries(chosen);
      expect(left.length).toBeGreaterThan(120);
      const isFull = async () => {
        left = await queriesWithoutValue(prometheus().query, left);
        if (left.length > 0) await setTimeout(QUERY_INTERVAL_MS);
        return left.length === 0;
      };
      await until("every query has had a value", isFull, WAIT_MS).catch(() => {});
      expect(left).toEqual([]);
    },
    WAIT_MS + 30_000,
  );

  test("an auction that is not chosen is not shown", async () => {
    const all = dashboardQueries("another").filter(({ expression }) =>
      expression.includes("another"),
    );
    expect(all.length).toBeGreaterThan(100);
    const shown = [];
    for (const one of all) if ((await labelled.query(one.expression)).length > 0) shown.push(one);
    expect(shown).toEqual([]);
  });

  test("a dashboard can be drawn", async () => {
    const toSeconds = Math.floor(Date.now() / 1_000);
    const picture = await drawDashboard("latency", {
      url: labelled.url,
      fromSeconds: toSeconds - 60,
      toSeconds,
      marks: [],
      auction: NAME,
      namespace: "fairs",
    });
    expect(picture).toContain("p99 of each step");
    expect(picture.match(/<polyline/g)!.length).toBeGreaterThan(20);
    expect(picture).not.toMatch(/NaN|undefined|\{\{/);
  });

  test("every rule can be evaluated, has what it looks at, and a well auction fires none that pages", async () => {
    const records = GROUPS.flatMap(({ rules }) => rules).flatMap((rule) =>
      "record" in rule ? [rule.record] : [],
    );
    // The longest windows have a value as soon as there are two samples in them.
    const all = records.map((expression) => ({ where: expression, expression }));
    let left: DashboardQuery[] = all;
    const isFull = async () => {
      left = await queriesWithoutValue(labelled.query, left);
      if (left.length > 0) await setTimeout(QUERY_INTERVAL_MS);
      return left.length === 0;
    };
    await until("every recording has a value", isFull, WAIT_MS).catch(() => {});
    expect(left).toEqual([]);
    const answer = await fetch(`${labelled.url}/api/v1/rules`);
    const { data } = (await answer.json()) as {
      data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] };
    };
    const rules = data.groups.flatMap((group) => group.rules);
    expect(rules).toHaveLength(GROUPS.flatMap((group) => group.rules).length);
    expect(rules.filter(({ health }) => health !== "ok")).toEqual([]);
    const firing = await labelled.query(`ALERTS{alertstate="firing",severity="page"}`);
    const never = firing.filter(({ metric }) => !/Latency|Delivery/.test(metric["alertname"]!)); // a busy machine is slow
    expect(never.map(({ metric }) => metric["alertname"])).toEqual([]);
  });
});
