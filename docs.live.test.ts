/** Runs every command that the README and docs/ show, exactly as it stands there, on one auction of this test. */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UpSandbox } from "./operator/testing/up-sandbox.ts";
import { codeBlocks, ROOT_DIR } from "./services/testing/documents.ts";
import { plainEnv } from "./services/testing/plain-env.ts";
import { until } from "./services/testing/until.ts";

const START_TIMEOUT_MS = 240_000;
const README = "README.md";

const sandbox = await UpSandbox.create();
const env = plainEnv({ ...sandbox.env });
const PORTS: Readonly<Record<string, string>> = {
  "8080": "GATEWAY_PORT",
  "8081": "BROADCAST_PORT",
  "9080": "GATEWAY_INTERNAL_PORT",
};

/** The text of a document, with the ports of this test. */
const onThesePorts = (text: string): string =>
  text.replaceAll(/localhost:(\d+)/g, (whole, port: string) =>
    PORTS[port] === undefined ? whole : `localhost:${sandbox.env[PORTS[port]!]}`,
  );

const shell = (text: string, cwd = ROOT_DIR) =>
  spawnSync("bash", ["--norc", "-euo", "pipefail", "-c", onThesePorts(text)], {
    env,
    cwd,
    encoding: "utf8",
    timeout: START_TIMEOUT_MS,
  });

/** @throws Error with the output of a command that fails */
function run(text: string): string {
  const { status, stdout, stderr } = shell(text);
  if (status !== 0) throw new Error(`exit ${status} of\n${text}\n${stdout}\n${stderr}`);
  return stdout;
}

const blocksIn = (page: string, section: string, language = "sh"): string[] =>
  codeBlocks(page)
    .filter((block) => block.section === section && block.language === language)
    .map(({ text }) => text);

beforeAll(() => {
  const [up] = blocksIn(README, "Two commands");
  expect(run(`${up!.trim()} DETACH=1`)).toContain("Spring sale: 5 lots, open");
}, START_TIMEOUT_MS);

afterAll(() => void shell("make down"), 60_000);

test("README.md: the three examples place a bid, show it and query it", async () => {
  const [viewer] = blocksIn(README, "Three examples", "js");
  const watching = spawn(process.execPath, ["--eval", onThesePorts(viewer!)], { env });
  let shown = "";
  watching.stdout.on("data", (chunk: Buffer) => (shown += chunk.toString()));
  await until("the viewer has its snapshot", () => shown.includes('"snapshot"'));

  const [bid, sql] = blocksIn(README, "Three examples");
  const bidId = await placed(bid!, 12_500);
  await until("the viewer sees the bid", () => shown.includes(bidId));
  watching.kill();
  await until("the archive holds it", () => /oak-table\s+2\s+alice\s+12500/.test(run(sql!)));
});

/** A busy machine may answer 503: the bid is sent again with its key, as docs/http-api.md says. */
async function placed(block: string, amountMinor: number): Promise<string> {
  return await until("the bid is accepted", () => {
    const answer = JSON.parse(run(block)) as Record<string, unknown>;
    return answer["amountMinor"] === amountMinor ? String(answer["bidId"]) : null;
  });
}

test("docs/http-api.md: every call is answered as the page says", async () => {
  const page = "docs/http-api.md";
  const [bid] = blocksIn(page, "Placing a bid");
  await placed(bid!, 900_000);
  const [calls] = blocksIn(page, "Calls");
  const answers = calls!
    .trim()
    .split("\n")
    .map((call) => JSON.parse(run(call)) as Record<string, unknown>);
  expect(answers.map((answer) => Object.keys(answer))).toEqual([
    expect.arrayContaining(["title", "currency", "serverTimeMs", "streamUrl"]),
    ["lots", "nextCursor"],
    expect.arrayContaining(["lotId", "status", "leadingBid", "minimumMinor", "epoch", "seq"]),
    ["bids", "nextCursor"],
  ]);
});

test("docs/observability.md: metrics are served, and a dashboard is drawn without Grafana", async () => {
  const page = "docs/observability.md";
  const [metrics] = blocksIn(page, "Metrics");
  expect(run(metrics!)).toContain("gavel_gateway_bids_total");
  const prometheus = createServer((_request, response) => {
    response.setHeader("content-type", "application/json");
    response.end('{"status":"success","data":{"resultType":"matrix","result":[]}}');
  }).listen(0, "127.0.0.1");
  await once(prometheus, "listening");
  const { port } = prometheus.address() as AddressInfo;
  const [draw] = blocksIn(page, "Dashboards");
  const picture = join(sandbox.root, "latency.svg");
  const command = draw!
    .replace("localhost:9090", `127.0.0.1:${port}`)
    .replace("latency.svg", picture);
  const drawing = spawn("bash", ["--norc", "-euc", command], { env, cwd: ROOT_DIR });
  expect(await once(drawing, "exit")).toEqual([0, null]);
  prometheus.close();
  expect(readFileSync(picture, "utf8")).toContain("<svg");
});

test("docs/operating.md: no dead letter waits", () => {
  const [list] = blocksIn("docs/operating.md", "Dead letters");
  expect(run(list!)).toContain("No dead letter waits.");
});

// Last: its commands end the auction and delete its data.
test("docs/operating.md: the commands of a first session work in their order", () => {
  const [session] = blocksIn("docs/operating.md", "A first session");
  const outputs = session!
    .trim()
    .split("\n")
    .map((command) => run(command));
  const [status, logs, token, rows] = outputs;
  expect(status).toMatch(/gateway[\s\S]*oak-table/);
  expect(logs).toContain("gateway");
  expect(token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  expect(rows).toMatch(/oak-table\s+open\s+1/);
});
