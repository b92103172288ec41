import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runHere } from "../testing/run-here.ts";

const LETTER = {
  deadLetterId: 4,
  reason: "undecodable",
  detail: "an event must be an object",
  lotId: "lot-1",
  outboxId: "5-0",
  body: "unreadable",
  foundAtMs: 0,
  replayedAtMs: null,
  discarded: null,
};

/** What archival answers, by the request. */
const ANSWERS: Record<string, readonly [status: number, body: object]> = {
  "GET ?waiting=true&cursor=0": [200, { deadLetters: [LETTER], nextCursor: "4" }],
  "GET ?waiting=true&cursor=4": [
    200,
    { deadLetters: [{ ...LETTER, deadLetterId: 5, lotId: null }], nextCursor: null },
  ],
  "GET /4": [200, LETTER],
  "POST /4/replay": [200, { outcome: "refused", detail: "another event is archived" }],
  "POST /5/replay": [200, { outcome: "archived", events: 2 }],
  "POST /4/discard": [200, { outcome: "discarded" }],
};

const requests: { authorization: string | undefined; body: string }[] = [];
const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  requests.push({ authorization: request.headers.authorization, body });
  const path = request.url!.replace("/internal/v1/dead-letters", "");
  const [status, answer] = ANSWERS[`${request.method} ${path}`] ?? [404, { detail: "None waits." }];
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
}).listen(0, "127.0.0.1");
await once(server, "listening");
const dir = mkdtempSync(join(tmpdir(), "gavel-dead-letters-"));
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

const token = join(dir, "token");
writeFileSync(token, "owners-token\n");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const run = (...words: string[]) =>
  runHere(["dead-letters", ...words, "--archival", url, "--token", token], { GAVEL_DIR: dir });

test("list prints all pages of waiting dead letters, and show prints a whole one", async () => {
  const { status, stdout } = await run("list");
  expect(status).toBe(0);
  expect(stdout).toMatch(/4\s+undecodable\s+lot-1\s+5-0\s.*waits\s+an event must be an object/);
  expect(stdout).toMatch(/\n ?5\s+undecodable/);
  const shown = await run("show", "4");
  expect(JSON.parse(shown.stdout)).toEqual(LETTER);
});

test("replay and discard report the outcome, in the exit code, too", async () => {
  expect(await run("replay", "5")).toMatchObject({ status: 0, stdout: "Archived: 2 events.\n" });
  expect(await run("replay", "4")).toMatchObject({
    status: 1,
    stdout: "Refused, nothing was changed: another event is archived\n",
  });
  requests.length = 0;
  const discarded = await run("discard", "4", "--reason", "sent by a load test");
  expect(discarded.status).toBe(0);
  expect(requests).toEqual([
    { authorization: "Bearer owners-token", body: '{"reason":"sent by a load test"}' },
  ]);
  const absent = await run("discard", "9", "--reason", "why not");
  expect([absent.status, absent.stdout]).toEqual([1, "archival answers 404: None waits.\n"]);
});

test.each([
  [["bury", "4"]],
  [["show"]],
  [["replay", "first"]],
  [["list", "4"]],
  [["discard", "4"]],
  [["replay", "4", "--reason", "none"]],
])("a wrong command line %j exits with 2 and sends nothing", async (words) => {
  requests.length = 0;
  const { status, stderr } = await run(...words);
  expect(status).toBe(2);
  expect(stderr).toContain("usage: gavel dead-letters");
  expect(requests).toEqual([]);
});

test("if nothing runs here, the command says so", async () => {
  const { status, stdout } = await runHere(["dead-letters"], { GAVEL_DIR: dir });
  expect([status, stdout]).toEqual([3, expect.stringContaining("nothing runs from")]);
});
