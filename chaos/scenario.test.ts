import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { selectorOf } from "../operator/desired/identity.ts";
import type { StoredAuction } from "../operator/api/auction-resource.ts";
import { readAuctionFile } from "../operator/local/auction-file.ts";
import {
  AUCTION,
  COMPONENTS,
  componentOf,
  NAMESPACE,
  parseScenario,
  readScenario,
  scenarioNames,
  selectorsOf,
} from "./scenario.ts";

const text = (name: string) => readFileSync(`chaos/${name}.yaml`, "utf8");

test("every scenario is valid, and has a hypothesis", () => {
  const names = scenarioNames();
  expect(names.length).toBeGreaterThanOrEqual(17);
  for (const name of names) {
    const { hypothesis, spec } = readScenario(name);
    expect([name, hypothesis.length > 150]).toEqual([name, true]);
    expect([name, spec.windowSeconds * spec.rounds >= 10]).toEqual([name, true]);
    if (spec.expect.steadyP99) {
      const calm = spec.rounds * (spec.calmWindows ?? 1);
      expect([name, calm >= 3]).toEqual([name, true]);
    }
  }
});

test("selectors use the operator's labels", () => {
  const auction = { metadata: { name: AUCTION } } as StoredAuction;
  for (const name of scenarioNames()) {
    for (const { objects } of [readScenario(name)]) {
      for (const selector of objects.flatMap(({ spec }) => selectorsOf(spec))) {
        const component = componentOf(selector)!;
        expect([name, COMPONENTS.includes(component)]).toEqual([name, true]);
        if (component === "operator") continue;
        expect(selector["namespaces"]).toEqual([NAMESPACE]);
        expect(selector["labelSelectors"]).toEqual(selectorOf(auction, component));
      }
    }
  }
});

test("each component of an auction is killed by a scenario, and its pod deleted", () => {
  const killed = scenarioNames().flatMap((name) =>
    readScenario(name).spec.steps.flatMap((step) => ("kill" in step ? step.kill : [])),
  );
  expect(new Set(killed)).toEqual(new Set(COMPONENTS));
});

test("make up accepts the auction, too", () => {
  const file = readAuctionFile("chaos/auction.yaml");
  expect(file.ok && file.auction.metadata.name).toBe(AUCTION);
});

describe("a scenario is refused if it has", () => {
  const good = text("postgres-killed");
  const refused = (change: (yaml: string) => string, why: RegExp) => {
    const bad = change(good);
    expect(bad).not.toBe(good);
    expect(() => parseScenario("postgres-killed", bad)).toThrow(why);
  };

  test("no hypothesis", () => {
    refused((yaml) => yaml.replace("# Hypothesis:", "#"), /must open with # Hypothesis/);
  });

  test("a selector without namespaces: it would select all of them", () => {
    refused((yaml) => yaml.replace(/ +namespaces: \[gavel-chaos\]\n/, ""), /every namespace/);
    refused((yaml) => yaml.replace("namespaces: [gavel-chaos]", "namespaces: []"), /every names/);
  });

  test("a selector that names pods: Chaos Mesh would ignore the rest", () => {
    const pods = "    pods: { kube-system: [etcd-0] }\n";
    refused((yaml) => yaml.replace("  selector:\n", `  selector:\n${pods}`), /may not have pods/);
  });

  test("failed bids without bidsWithinSeconds, or bidsWithinSeconds without failed bids", () => {
    refused((yaml) => yaml.replace("failedBids: none", "failedBids: in-flight"), /bidsWithin/);
    const within = "failedBids: none\n    bidsWithinSeconds: 9";
    refused((yaml) => yaml.replace("failedBids: none", within), /bidsWithin/);
  });

  test("a selector for another namespace, another auction, or all components", () => {
    refused((y) => y.replace("namespaces: [gavel-chaos]", "namespaces: [default]"), /no part of/);
    refused((y) => y.replace("[gavel-chaos]", "[gavel-chaos, kube-system]"), /no part of/);
    refused((yaml) => yaml.replace("gavel.dev/name: chaos-auction, ", ""), /no part of/);
    refused((yaml) => yaml.replace(/, gavel.dev\/component: postgres/, ""), /no part of/);
  });

  test("a document without a selector, of another namespace, or of another kind of API", () => {
    refused((yaml) => yaml.replace(/ {2}selector:[^]*$/, ""), /selects nothing/);
    refused((yaml) => yaml.replace("namespace: gavel-chaos }", "namespace: x }"), /another names/);
    refused((yaml) => yaml.replace("chaos-mesh.org/v1alpha1", "apps/v1"), /not ours/);
  });

  test("a step without effect, or an unknown field", () => {
    refused((yaml) => yaml.replace("- apply: postgres-killed", "- apply: it"), /no document it/);
    refused((yaml) => yaml.replace("- kill: [postgres]", "- kill: [etcd]"), /steps/);
    refused((yaml) => yaml.replace("rounds: 4", "rounds: 3\n  round: 3"), /postgres-killed.yaml/);
  });
});
