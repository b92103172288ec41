/** Prometheus as a child process: it scrapes the given targets and evaluates the given alert rules. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { findProgram } from "./find-program.ts";
import { type ServerProcess, startServer } from "./server-process.ts";

/** The Debian package. It includes promtool. */
export const PROMETHEUS_PACKAGE = "prometheus";

/** A process to scrape, with the labels that a PodMonitor would add on a cluster. */
export interface ScrapeTarget {
  /** host:port */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

interface PrometheusOptions {
  /** Folder for configuration and data. It is created if it is missing. */
  readonly dir: string;
  readonly logFile: string;
  readonly port: number;
  readonly targets: readonly ScrapeTarget[];
  /** Absolute paths of files with alert rules. */
  readonly ruleFiles: readonly string[];
  readonly scrapeIntervalSeconds: number;
  readonly onSpawn?: (pid: number) => void;
}

/** @throws Error if Prometheus is not installed or does not start */
export async function startPrometheus(options: PrometheusOptions): Promise<ServerProcess> {
  const { dir, logFile, port, onSpawn } = options;
  const command = findProgram("prometheus");
  if (command === null) throw new Error("prometheus is not installed");
  mkdirSync(dir, { recursive: true });
  const configFile = join(dir, "prometheus.yml");
  writeFileSync(configFile, configurationOf(options));
  return startServer({
    ...(onSpawn === undefined ? {} : { onSpawn }),
    name: "prometheus",
    command,
    args: [
      `--config.file=${configFile}`,
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

function configurationOf({
  targets,
  ruleFiles,
  scrapeIntervalSeconds,
}: Pick<PrometheusOptions, "targets" | "ruleFiles" | "scrapeIntervalSeconds">): string {
  const interval = `${scrapeIntervalSeconds}s`;
  return stringify({
    global: {
      scrape_interval: interval,
      scrape_timeout: interval,
      evaluation_interval: interval,
    },
    rule_files: ruleFiles,
    scrape_configs: [
      {
        job_name: "gavel",
        static_configs: targets.map(({ address, labels }) => ({ targets: [address], labels })),
      },
    ],
  });
}
