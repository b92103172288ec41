/** A Prometheus of this machine's own beside an auction: it scrapes the tiers, and watches the rules. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { writeWhole } from "./data-folder.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";
import { findProgram } from "../../servers/store-servers.ts";

export const PROMETHEUS_PACKAGE = "prometheus"; // Debian's; it has promtool, too

const RULES = fileURLToPath(new URL("../../dashboards/alerts.yaml", import.meta.url));

/** What is scraped, and what is said of it: on a cluster the PodMonitor says that. */
export interface Target {
  /** host:port */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface PrometheusOf {
  /** Its configuration and data. */
  readonly dir: string;
  readonly logFile: string;
  readonly port: number;
  readonly targets: readonly Target[];
  readonly everySeconds: number;
  readonly onSpawn?: (pid: number) => void;
}

/** Null where it is not installed. @throws Error when it does not start */
export async function startPrometheus(of: PrometheusOf): Promise<ServerProcess | null> {
  const command = findProgram("prometheus");
  if (command === null) return null;
  const { dir, logFile, port, targets, everySeconds, onSpawn } = of;
  mkdirSync(dir, { recursive: true });
  const file = join(dir, "prometheus.yml");
  writeWhole(file, configurationOf(targets, everySeconds), 0o644);
  return startServer({
    ...(onSpawn === undefined ? {} : { onSpawn }),
    name: "prometheus",
    command,
    args: [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(dir, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--storage.tsdb.retention.time=7d",
      "--log.level=warn",
    ],
    cwd: dir,
    logFile,
    url: `http://127.0.0.1:${port}`,
    port,
    stopSignal: "SIGTERM",
  });
}

function configurationOf(targets: readonly Target[], everySeconds: number): string {
  return stringify({
    global: {
      scrape_interval: `${everySeconds}s`,
      scrape_timeout: `${everySeconds}s`,
      evaluation_interval: `${everySeconds}s`,
    },
    rule_files: [RULES],
    scrape_configs: [
      {
        job_name: "gavel",
        static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
      },
    ],
  });
}
