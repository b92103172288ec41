/** What the tiers tell Prometheus, scraped from real ones after real traffic. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { commonMetrics, metricsOf } from "./metrics-reference.ts";
import { findProgram } from "../servers/find-program.ts";
import { startAuction } from "../services/testing/running-auction.ts";
import { lotsFor, startTraffic } from "../services/testing/traffic.ts";
import { until } from "../services/testing/until.ts";

const LOTS = lotsFor(120, 5);
const lotIds = LOTS.map(({ lotId }) => lotId);
const auction = await startAuction({ lots: LOTS }, { MESSAGES_PER_SECOND: "1000" });
const promtool = findProgram("promtool");

type Tier = "gateway" | "broadcast" | "archival";
const TIERS: readonly Tier[] = ["gateway", "broadcast", "archival"];

interface Series {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
}

const scrape = async (tier: Tier): Promise<string> =>
  (await fetch(`${auction.internalUrls[tier]}/metrics`)).text();

function seriesIn(text: string): Series[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name, labels = ""] = /^([^{\s]+)(?:\{(.*)\})? \S+$/.exec(line)!;
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
      return { name: name!, labels: new Map(pairs.map(([, label, value]) => [label!, value!])) };
    });
}

const isNode = ({ name }: Series) => /^(nodejs|process)_/.test(name);

/** Of labels whose values do not all exist from the start: these are the values that may come. */
async function comingValues(): Promise<Record<string, (value: string) => boolean>> {
  const document = (await (await fetch(`${auction.gatewayUrl}/openapi.json`)).json()) as {
    paths: object;
  };
  const routes = new Set([
    ...Object.keys(document.paths).map((path) => path.replaceAll(/\{(\w+)\}/g, ":$1")),
    "none",
    "/openapi.json",
  ]);
  return {
    method: (value) => ["GET", "HEAD", "POST", "OPTIONS", "other"].includes(value),
    route: (value) => routes.has(value),
    status: (value) => /^[1-5]\d\d$/.test(value) || ["scheduled", "open", "closed"].includes(value),
    le: (value) => value === "+Inf" || Number.isFinite(Number(value)),
  };
}

async function afterTraffic(lots: readonly string[], names: readonly string[]) {
  const traffic = startTraffic(auction, lots, names);
  const rounds = Math.max(lots.length, names.length) + 10;
  await until("every lot and name had its turn", () => traffic.rounds >= rounds);
  await traffic.stop();
  return Object.fromEntries(
    await Promise.all(TIERS.map(async (tier) => [tier, await scrape(tier)] as const)),
  ) as Record<Tier, string>;
}

const metric = async (tier: Tier, name: string): Promise<number> =>
  Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "m").exec(await scrape(tier))?.[1]);

test("lots that nobody closes in time are seen as overdue, until a gateway's clock runs again", async () => {
  const overdue = () => metric("archival", "gavel_archival_clock_overdue_seconds");
  await auction.parts.gateway.kill();
  await until("a lot is overdue", async () => (await overdue()) > 1);
  await auction.parts.gateway.restart();
  await until("it was closed", async () => (await overdue()) === 0);
  const late = await scrape("gateway");
  expect(late).toMatch(/clock_lateness_seconds_count\S*change="close"\S* [1-9]/);
});

test("no label has a value of a lot or a bidder, and more of them make no more series", async () => {
  const before = await Promise.all(TIERS.map(async (tier) => seriesIn(await scrape(tier))));
  const known = new Map<string, Set<string>>();
  for (const { labels } of before.flat().filter((one) => !isNode(one))) {
    for (const [label, value] of labels) {
      known.set(label, (known.get(label) ?? new Set()).add(value));
    }
  }
  const some = await afterTraffic(
    lotIds.slice(0, 20),
    Array.from({ length: 10 }, (_, n) => `ann-${n}`),
  );
  const many = await afterTraffic(
    lotIds,
    Array.from({ length: 100 }, (_, n) => `bob-${n}`),
  );

  const coming = await comingValues();
  const strange = Object.values(many)
    .flatMap(seriesIn)
    .filter((one) => !isNode(one))
    .flatMap(({ name, labels }) =>
      [...labels]
        .filter(([label, value]) => !known.get(label)?.has(value) && !coming[label]?.(value))
        .map(([label, value]) => `${name}: ${label}="${value}"`),
    );
  expect(strange).toEqual([]);
  for (const tier of TIERS) {
    expect(many[tier]).not.toMatch(/lot-\d|short-\d|unknown-\d|ann-|bob-/);
    expect(many[tier]).not.toContain(auction.uid);
    const counts = [some, many].map((all) => seriesIn(all[tier]).filter((one) => !isNode(one)));
    expect([tier, counts[1]!.length]).toEqual([tier, counts[0]!.length]);
    expect(counts[1]!.length).toBeLessThan(900);
  }
  // The traffic was seen: what was asked is what is counted.
  const bids = seriesIn(many.gateway).filter(({ name }) => name === "gavel_gateway_bids_total");
  expect(bids).toHaveLength(12);
  expect(many.gateway).toMatch(/bids_total\{outcome="accepted",tier="gateway"\} [1-9]/);
  expect(many.gateway).toMatch(/bids_total\{outcome="unknown_lot",tier="gateway"\} [1-9]/);
  expect(many.broadcast).toMatch(
    /message_duration_seconds_count\{tier="broadcast",type="place_bid",outcome="ok"\} [1-9]/,
  );
  expect(many.broadcast).toMatch(/resumes_total\{result="recovered",tier="broadcast"\} [1-9]/);
  expect(many.archival).toMatch(/archive_delay_seconds_count\{tier="archival"\} [1-9]/);
});

test.each(TIERS)("the metrics of %s are those of docs/metrics.md", async (tier) => {
  const text = await scrape(tier);
  const shown = [...text.matchAll(/^# HELP (\S+)/gm)].map(([, name]) => name!);
  const documented = [...metricsOf(tier), ...commonMetrics()].map(({ name }) => name);
  expect(shown.sort()).toEqual(documented.sort());
  const reference = readFileSync(new URL("../docs/metrics.md", import.meta.url), "utf8");
  expect(shown.filter((name) => !reference.includes(`| \`${name}\` |`))).toEqual([]);
});

test.skipIf(promtool === null).each(TIERS)(
  "promtool finds nothing to say of names and help of %s",
  async (tier) => {
    const checked = spawnSync(promtool!, ["check", "metrics"], { input: await scrape(tier) });
    expect([checked.status, checked.stderr.toString()]).toEqual([0, ""]);
  },
);

test("the sum of the leading amounts is that of the lots", async () => {
  const sum = async () => {
    const { lots } = (await (await fetch(`${auction.gatewayUrl}/v1/lots?limit=200`)).json()) as {
      lots: { leadingBid: { amountMinor: number } | null }[];
    };
    return lots.reduce((all, { leadingBid }) => all + (leadingBid?.amountMinor ?? 0), 0);
  };
  const shown = async () =>
    Number(/^gavel_archival_leading_amounts_minor\S* (\d+)$/m.exec(await scrape("archival"))?.[1]);
  expect(await sum()).toBeGreaterThan(100_000);
  await until("it is shown", async () => (await shown()) === (await sum()));
});

test("events that Postgres has not are counted, and lag is seen", async () => {
  const waiting = () => metric("archival", "gavel_archival_unarchived_events");
  await auction.parts.postgres.kill();
  const before = await waiting();
  const traffic = startTraffic(auction, lotIds.slice(0, 10), ["carl"]);
  await until("events wait", async () => (await waiting()) > before + 50);
  await traffic.stop();
  const lag = () => metric("archival", "gavel_archival_archive_lag_seconds");
  await until("the lag is seen", async () => (await lag()) > 0);
  await auction.parts.postgres.restart();
  await until("they are archived", async () => (await waiting()) === 0);
});
