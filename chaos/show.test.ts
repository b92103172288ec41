import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { expect, test } from "vitest";
import { afterFile } from "../services/testing/after-file.ts";
import { annotate } from "./show.ts";

const REPORT = {
  scenario: "redis-killed",
  outcome: "held" as const,
  seriesFrom: "2026-01-01T00:00:00.000Z",
  series: [],
  marks: [{ fromSeconds: 10, toSeconds: 12.5 }],
};

test("each fault is a region annotation in Grafana, and a refusal is reported", async () => {
  const requests: { url?: string | undefined; headers: IncomingHttpHeaders; body: unknown }[] = [];
  let status = 200;
  const grafana = createServer(async (request, response) => {
    requests.push({ url: request.url, headers: request.headers, body: await json(request) });
    response.writeHead(status).end(`{"message":"no"}`);
  });
  grafana.listen(0, "127.0.0.1");
  await once(grafana, "listening");
  afterFile(() => void grafana.close());
  const url = `http://127.0.0.1:${(grafana.address() as AddressInfo).port}/grafana/`;

  await annotate(REPORT, url, "secret");
  const zeroMs = Date.parse(REPORT.seriesFrom);
  expect(requests).toMatchObject([
    {
      url: "/grafana/api/annotations",
      headers: { authorization: "Bearer secret" },
      body: {
        time: zeroMs + 10_000,
        timeEnd: zeroMs + 12_500,
        text: "redis-killed: held",
        tags: ["gavel", "chaos", "redis-killed"],
      },
    },
  ]);
  status = 403;
  await expect(annotate(REPORT, url, "secret")).rejects.toThrow(/403.*no/);
});
