import { expect, test } from "vitest";
import { DASHBOARDS } from "./dashboards.ts";
import { FOREIGN, knownSeries, metricsIn } from "./known-metrics.ts";
import { GROUPS } from "./rule-files.ts";

interface Panel {
  readonly title?: string;
  readonly type: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string }[];
}

const panelsOf = (name: string) => (DASHBOARDS[name]!.panels ?? []) as unknown as Panel[];
const names = Object.keys(DASHBOARDS);

test("every metric that a dashboard or a rule names is one that a process of ours shows", () => {
  const known = knownSeries();
  const asked = [
    ...names.flatMap((name) =>
      panelsOf(name).flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ),
    ...names.flatMap((name) =>
      (DASHBOARDS[name]!.annotations?.list ?? []).map(({ expr }) => expr ?? ""),
    ),
    ...GROUPS.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
  ];
  expect(asked.length).toBeGreaterThan(100);
  const unknown = asked.flatMap(metricsIn).filter((name) => !known.has(name));
  expect(unknown.filter((name) => !FOREIGN.includes(name))).toEqual([]);
});

test.each(names)("%s says what each panel shows, and chooses among auctions", (name) => {
  const dashboard = DASHBOARDS[name]!;
  const panels = panelsOf(name).filter(({ type }) => type !== "row");
  expect(panels.length).toBeGreaterThan(8);
  expect(panels.filter(({ description }) => !description)).toEqual([]);
  const titles = panels.map(({ title, type }) => `${type} ${title}`);
  expect(new Set(titles).size).toBe(titles.length);
  const variables = (dashboard.templating?.list ?? []).map((variable) => variable.name);
  const choices = name === "operator" ? [] : ["namespace", "auction"];
  expect(variables).toEqual(["source", ...choices]);
});

test("the words of dashboards are those of the house", () => {
  const text = JSON.stringify(DASHBOARDS).toLowerCase();
  expect(text).not.toMatch(/\b(sale|user|users|product|price|server error)\b/);
});

test("each dashboard has an id of its own, and chaos marks the faults", () => {
  const ids = names.map((name) => DASHBOARDS[name]!.uid);
  expect(new Set(ids).size).toBe(ids.length);
  const marks = DASHBOARDS["chaos"]!.annotations?.list ?? [];
  expect(marks.map((mark) => mark.name)).toEqual(["experiment", "restart", "breaker open"]);
});
