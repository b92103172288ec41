import { expect, test } from "vitest";
import { type Pod, targetsOf } from "./prometheus-targets.ts";

function pod(labels: Record<string, string>): Pod {
  const ports = [
    { name: "http", containerPort: 8080 },
    { name: "internal", containerPort: 9080 },
  ];
  return {
    metadata: { name: "a-pod", namespace: "fairs", labels },
    spec: { containers: [{ ports }] },
    status: { phase: "Running", podIP: "10.0.0.1" },
  };
}

const TIER = { "gavel.dev/component": "gateway", "gavel.dev/name": "spring" };
const POD_LABELS = { namespace: "fairs", pod: "a-pod" };

test("tiers, operator and Chaos Mesh are scraped at their ports, with the labels that their metrics lack", () => {
  expect(targetsOf([pod(TIER)])).toEqual([
    {
      targets: ["10.0.0.1:9080"],
      labels: { ...POD_LABELS, job: "gavel-tiers", auction: "spring" },
    },
  ]);
  expect(targetsOf([pod({ "app.kubernetes.io/name": "gavel-operator" })])).toEqual([
    { targets: ["10.0.0.1:9080"], labels: { ...POD_LABELS, job: "gavel-operator" } },
  ]);
  const chaosMesh = {
    "app.kubernetes.io/part-of": "chaos-mesh",
    "app.kubernetes.io/component": "controller-manager",
  };
  for (const labels of [chaosMesh, { app: "chaos-controller-manager" }]) {
    expect(targetsOf([pod(labels)])).toEqual([
      { targets: ["10.0.0.1:10080"], labels: { job: "chaos-mesh" } },
    ]);
  }
});

test("stores, unrelated pods and pods that do not run are not scraped", () => {
  const ended = pod(TIER);
  const all = [
    pod({ ...TIER, "gavel.dev/component": "redis" }),
    pod({}),
    { ...ended, status: { ...ended.status, phase: "Succeeded" } },
    { ...ended, status: { phase: "Running" } },
  ];
  expect(targetsOf(all)).toEqual([]);
});
