/**
 * Draws a dashboard as an SVG picture, for machines without Grafana:
 *
 *   node dashboards/draw.ts latency --prometheus http://localhost:9090 [--minutes 15] > latency.svg
 *
 * --auction and --namespace are regular expressions.
 */
import { parseArgs } from "node:util";
import { DASHBOARDS } from "./dashboards.ts";
import { drawDashboard } from "./draw-dashboard.ts";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const USAGE = `usage: node dashboards/draw.ts ${Object.keys(DASHBOARDS).join("|")} --prometheus URL
         [--minutes 15] [--auction REGEX] [--namespace REGEX] > picture.svg
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prometheus: { type: "string", default: "http://localhost:9090" },
    minutes: { type: "string", default: "15" },
    auction: { type: "string", default: ".*" },
    namespace: { type: "string", default: ".*" },
    help: { type: "boolean" },
  },
});
const [name = ""] = positionals;
const minutes = Number(values.minutes);
if (values.help || !(name in DASHBOARDS) || !(minutes > 0)) {
  (values.help ? process.stdout : process.stderr).write(USAGE);
  process.exit(values.help ? 0 : 2);
}
const toSeconds = Math.floor(Date.now() / 1_000);
try {
  process.stdout.write(
    await drawDashboard(name, {
      url: values.prometheus,
      auction: values.auction,
      namespace: values.namespace,
      fromSeconds: toSeconds - minutes * 60,
      toSeconds,
      marks: [],
    }),
  );
} catch (error) {
  process.stderr.write(`${values.prometheus}: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
