/** services/METRICS.md: every metric of every process, from the objects that the processes themselves make. */
import { type MetricObject, Registry } from "prom-client";
import { createOperatorMetrics } from "../operator/metrics.ts";
import { createAuditMetrics } from "../services/archival/observe/invariant-monitor.ts";
import { createMetrics as createArchivalMetrics } from "../services/archival/metrics.ts";
import { createWellBeing } from "../services/archival/observe/store-gauges.ts";
import { createMetrics as createBroadcastMetrics } from "../services/broadcast/metrics.ts";
import { createMetrics as createGatewayMetrics } from "../services/gateway/metrics.ts";
import { showBreakers } from "../services/runtime/breaker.ts";
import { createRegistry } from "../services/runtime/internal.ts";

const NOBODY = {
  sockets: () => 0,
  behind: () => 0,
  subscriptions: () => 0,
  waitingBids: () => 0,
  connections: async () => 0,
  traffic: { frames: 0, bytes: 0, conflated: 0 },
};

/** What each process has besides what every process has. */
export const PROCESSES: Readonly<Record<string, (registry: Registry) => void>> = {
  gateway(registry) {
    createGatewayMetrics(registry, NOBODY);
    showBreakers(registry, "gavel_gateway_", {});
  },
  broadcast(registry) {
    createBroadcastMetrics(registry, NOBODY);
    showBreakers(registry, "gavel_broadcast_", {});
  },
  archival(registry) {
    createArchivalMetrics(registry);
    createWellBeing(registry);
    createAuditMetrics(registry);
    showBreakers(registry, "gavel_archival_", {});
  },
  operator: (registry) => void createOperatorMetrics(registry),
};

export interface DescribedMetric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

const byName = (a: DescribedMetric, b: DescribedMetric) => (a.name < b.name ? -1 : 1);

function describe(registry: Registry): DescribedMetric[] {
  const metrics = registry.getMetricsAsArray() as (MetricObject & { labelNames?: string[] })[];
  return metrics
    .map(({ name, help, type, labelNames = [] }) => {
      return { name, help, type: String(type), labels: labelNames };
    })
    .sort(byName);
}

/** Of one process, without those that every process has. */
export function metricsOf(name: string): DescribedMetric[] {
  const registry = new Registry();
  PROCESSES[name]!(registry);
  return describe(registry);
}

/** Of every process: what Node and the machine tell. */
export const commonMetrics = (): DescribedMetric[] => describe(createRegistry("any"));

export function metricsText(): string {
  const table = (metrics: readonly DescribedMetric[]) =>
    [
      "| name | type | labels | what it says |",
      "|---|---|---|---|",
      ...metrics.map(({ name, type, labels, help }) => {
        const named = labels.map((label) => `\`${label}\``).join(", ");
        return `| \`${name}\` | ${type} | ${named} | ${help.replaceAll("|", "\\|")} |`;
      }),
    ].join("\n");
  const sections = Object.keys(PROCESSES).map((name) => `## ${name}\n\n${table(metricsOf(name))}`);
  return `# Metrics

Written by \`make generate\` from the \`metrics.ts\` of each process: change it there. Each process answers
\`GET /metrics\` at its internal port (\`INTERNAL_PORT\`). Every series has the label \`tier\`; on a cluster
\`namespace\`, \`auction\` and \`pod\` come from the PodMonitor. No label names a lot or a bidder: the number of
series does not grow with an auction. A histogram has series \`_bucket\` (label \`le\`), \`_sum\` and \`_count\`.

${sections.join("\n\n")}

## every process

${table(commonMetrics())}
`;
}
