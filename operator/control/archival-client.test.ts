import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { DEFAULT_MAX_JUMP } from "../../services/lot/terms.ts";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import { afterFile } from "../../services/testing/after-file.ts";
import { auctionDefinition, RULES } from "../../services/testing/auction.ts";
import { state } from "../testing/observation.ts";
import { archivalAt, ArchivalUnavailable } from "./archival-client.ts";

/** An archival tier that gives the same answer to every request. */
async function archivalThat(answers: { status?: number; body?: string }) {
  const requests: IncomingMessage[] = [];
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    requests.push(request);
    bodies.push(await text(request));
    response.writeHead(answers.status ?? 200).end(answers.body ?? "{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  afterFile(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  const { port } = server.address() as AddressInfo;
  return { archival: archivalAt(`http://127.0.0.1:${port}`, "secret"), requests, bodies, server };
}

test("a call carries the token, and closes its connection", async () => {
  const { archival, requests } = await archivalThat({ body: JSON.stringify(state()) });
  expect(await archival.state()).toEqual(state());
  await archival.fence();
  expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "GET /internal/v1/state",
    "POST /internal/v1/fence",
  ]);
  for (const { headers } of requests) {
    expect(headers).toMatchObject({ authorization: "Bearer secret", connection: "close" });
  }
});

test("what archival of an earlier version does not report is filled in", async () => {
  const { keysFull: _keys, memoryShortage: _memory, refusals: _refusals, ...earlier } = state();
  const { archival } = await archivalThat({ body: JSON.stringify(earlier) });
  expect(await archival.state()).toEqual(state());
});

test("published rules omit the default of maxJump, which archival of an earlier version takes for a change", async () => {
  const { archival, bodies } = await archivalThat({});
  for (const maxJump of [DEFAULT_MAX_JUMP, 40]) {
    await archival.publishRules(auctionDefinition({ rules: { ...RULES, maxJump } }));
  }
  const { maxJump: _, ...rules } = RULES;
  const sent = bodies.map((body) => (JSON.parse(body) as AuctionDefinition).rules);
  expect(sent).toEqual([rules, { ...rules, maxJump: 40 }]);
});

test("a refusal of rules is an answer; any other refusal throws ArchivalUnavailable", async () => {
  const body = JSON.stringify({ detail: "the auction is open" });
  const { archival } = await archivalThat({ status: 409, body });
  expect(await archival.publishRules(auctionDefinition())).toEqual({
    outcome: "refused",
    why: "the auction is open",
  });
  const fenced = archival.fence();
  await expect(fenced).rejects.toThrow(ArchivalUnavailable);
  await expect(fenced).rejects.toThrow("fence was refused: the auction is open");
});

test.each([
  [{ status: 503, body: JSON.stringify({ why: "starting" }) }, "state answered 503: starting"],
  [{ body: "<html>" }, "answered 200 without JSON"],
  [{ body: JSON.stringify("x".repeat(1024 * 1024)) }, /exceeded/],
])("an answer of %j means that archival is unavailable", async (answers, message) => {
  const { archival } = await archivalThat(answers);
  const asked = archival.state();
  await expect(asked).rejects.toThrow(ArchivalUnavailable);
  await expect(asked).rejects.toThrow(message);
});

test("a defect of the operator is not reported as an unavailable archival tier", async () => {
  const { archival } = await archivalThat({});
  const circular: Record<string, unknown> = { rules: {} };
  circular["itself"] = circular;
  const published = archival.publishRules(circular as never);
  await expect(published).rejects.toThrow(TypeError);
  await expect(archivalAt("http://[", "secret").state()).rejects.not.toThrow(ArchivalUnavailable);
});

test("a failed connection throws ArchivalUnavailable", async () => {
  const { archival, server } = await archivalThat({});
  await new Promise((resolve) => server.close(resolve));
  await expect(archival.state()).rejects.toThrow(ArchivalUnavailable);
});
