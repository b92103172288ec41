import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { TOKEN_MAX_BYTES } from "../access/limits.ts";
import { decodeEvent, EVENT_TYPES } from "../lot/events.ts";
import { viewOf } from "../lot/view.ts";
import { lot } from "../testing/auction.ts";
import {
  BACKOFF_MAX_MS,
  BACKOFF_MIN_MS,
  OPEN_MAX_MS,
  OPEN_MIN_MS,
  openMaxMs,
  SPREAD_MS,
  TOO_MANY_MS,
  waitMs,
} from "./reconnect-policy.ts";
import { PING_EVERY_MS } from "./heartbeat.ts";
import {
  CLIENT_MESSAGES,
  CLOSE_CODES,
  LOTS_PER_MESSAGE,
  readMessage,
  SERVER_MESSAGE_TYPES,
  STREAM_MESSAGE_MAX_BYTES,
} from "./protocol.ts";
import { RESUME_MAX_EVENTS } from "./resume.ts";
import { UNSENT_MAX_BYTES, BEHIND_BYTES, BEHIND_MAX_MS, ERRORS_MAX } from "./viewer.ts";

const text = readFileSync(new URL("./PROTOCOL.md", import.meta.url), "utf8");
const section = (from: string, to: string) => text.slice(text.indexOf(from), text.indexOf(to));
const fromViewer = section("## From the viewer", "## From the server");
const fromServer = section("## From the server", "## Close codes");
const headings = (part: string) => [...part.matchAll(/^###+ `(\w+)`$/gm)].map(([, name]) => name!);
const examples = (part: string) =>
  [...part.matchAll(/```json\n([^]*?)```/g)].map(
    ([, json]) => JSON.parse(json!) as { type: string },
  );

test("PROTOCOL.md describes every message, and no other", () => {
  expect(headings(fromViewer).sort()).toEqual(Object.keys(CLIENT_MESSAGES).sort());
  expect(headings(fromServer).sort()).toEqual([...SERVER_MESSAGE_TYPES].sort());
  expect(EVENT_TYPES.filter((type) => !SERVER_MESSAGE_TYPES.includes(type))).toEqual([]);
});

test("PROTOCOL.md names every field of every message from a viewer", () => {
  for (const [type, { properties }] of Object.entries(CLIENT_MESSAGES)) {
    const part = fromViewer.slice(fromViewer.indexOf(`### \`${type}\``)).slice(4);
    const fields = part.slice(0, (part.indexOf("\n### ") + 1 || part.length + 1) - 1);
    const named = [...fields.matchAll(/^\| `(\w+)` +\|/gm)].map(([, field]) => field!);
    expect(named).toEqual(Object.keys(properties).filter((field) => field !== "type"));
  }
});

test("PROTOCOL.md lists every close code, and whether to reconnect", () => {
  const rows = [...text.matchAll(/^\| (\d{4}) \| `(\w+)` +\|[^|]*\| (yes|no)/gm)];
  const listed = rows.map(([, code, name, reconnect]) => [
    name!,
    { code: Number(code), reconnect: reconnect === "yes" },
  ]);
  expect(Object.fromEntries(listed)).toEqual(CLOSE_CODES);
});

test("the examples of PROTOCOL.md are read as what they stand for", () => {
  const sent = examples(fromViewer);
  expect(sent.map(({ type }) => type)).toEqual(headings(fromViewer));
  for (const message of sent) {
    expect(readMessage(JSON.stringify(message))).toEqual({ ok: true, message });
  }
  const received = examples(fromServer);
  expect(new Set(received.map(({ type }) => type))).toEqual(new Set(SERVER_MESSAGE_TYPES));
  for (const message of received.filter(({ type }) => (EVENT_TYPES as string[]).includes(type))) {
    const key = message.type === "bid_accepted" ? { key: "secret" } : {};
    decodeEvent(JSON.stringify({ ...message, ...key }));
    expect(message).not.toHaveProperty("key");
  }
  const snapshot = received.find(({ type }) => type === "snapshot")!;
  const fields = ["type", ...Object.keys(viewOf(lot())), "serverTimeMs", "recovered"];
  expect(Object.keys(snapshot)).toEqual(fields);
});

test("the limits of PROTOCOL.md are those of the code", () => {
  const limits = text.slice(text.indexOf("## Limits"));
  const number = (of: string) =>
    Number(new RegExp(`^\\| ${of}[^|]*\\| ([\\d,]+)`, "m").exec(limits)![1]!.replaceAll(",", ""));
  expect(number("message from")).toBe(STREAM_MESSAGE_MAX_BYTES);
  const [, largest] = /^\| 1009 .* above ([\d,]+) bytes/m.exec(text)!;
  expect(Number(largest!.replaceAll(",", ""))).toBe(STREAM_MESSAGE_MAX_BYTES);
  expect(number("lots in one")).toBe(LOTS_PER_MESSAGE);
  expect(number("invalid messages")).toBe(ERRORS_MAX);
  expect(number("unsent bytes, above which events")).toBe(BEHIND_BYTES);
  expect(number("unsent bytes, above which the socket")).toBe(UNSENT_MAX_BYTES);
  expect(number("time with unsent") * 1_000).toBe(BEHIND_MAX_MS);
  expect(number("events that a resume")).toBe(RESUME_MAX_EVENTS);
  expect(number("longest wait before the first")).toBe(SPREAD_MS);
  expect(number("longest wait before the second")).toBe(BACKOFF_MIN_MS);
  expect(number("longest wait before any")).toBe(BACKOFF_MAX_MS);
  expect(number("time for the first try")).toBe(OPEN_MIN_MS);
  expect(number("longest time for any")).toBe(OPEN_MAX_MS);
  const [, seconds] = /^\| 4429 .* after (\d+) s/m.exec(text)!;
  expect(Number(seconds) * 1_000).toBe(TOO_MANY_MS);
  expect(number("interval of server pings") * 1_000).toBe(PING_EVERY_MS);
});

test("reconnects are spread first, tried twice soon, then backed off, and obey the close frame", () => {
  const tries = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99];
  const most = [1_000, 500, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
  expect(tries.map((n) => waitMs(n, 1006, "", () => 1))).toEqual(most);
  expect(waitMs(5, 1006, "", () => 0.25)).toBe(500);
  expect([0, ...tries].map(openMaxMs).slice(0, 6)).toEqual([
    5_000, 1_000, 2_000, 4_000, 5_000, 5_000,
  ]);
  expect(waitMs(1, 1012, '{"retryAfterMs":700}', () => 0.5)).toBe(700);
  for (const odd of ["", "restart", '{"retryAfterMs":-1}', '{"retryAfterMs":1e9}']) {
    expect(waitMs(1, 1012, odd, () => 0.5)).toBe(500);
  }
  expect(waitMs(1, 4429, "", () => 0)).toBe(10_000);
});

test("the longest message that the schemas allow is no larger than a socket may send", () => {
  const lots = Array.from({ length: LOTS_PER_MESSAGE }, (_, n) => String(n).padStart(32, "a"));
  const at = { epoch: Number.MAX_SAFE_INTEGER, seq: Number.MAX_SAFE_INTEGER };
  const since = Object.fromEntries(lots.map((lotId) => [lotId, at]));
  const message = { type: "subscribe", lots, since };
  const compact = JSON.stringify(message);
  expect(readMessage(compact)).toEqual({ ok: true, message });
  const spaced = compact.replaceAll(":", ": ").replaceAll(",", ", ");
  expect([compact.length, spaced.length]).toEqual([12_039, 12_642]);
  expect(spaced.length).toBeLessThan(STREAM_MESSAGE_MAX_BYTES);

  const token = "a".repeat(TOKEN_MAX_BYTES);
  expect(readMessage(JSON.stringify({ type: "authenticate", token }))).toMatchObject({ ok: true });
  expect(JSON.stringify({ type: "authenticate", token }).length).toBeLessThan(
    STREAM_MESSAGE_MAX_BYTES,
  );
});

test("what does not fit is refused, naming the field; nothing is coerced", () => {
  const cases: [message: unknown, field: string | undefined][] = [
    ["", undefined],
    ["[1", undefined],
    [[], undefined],
    [null, undefined],
    [7, undefined],
    [{}, "type"],
    [{ type: "toString" }, "type"],
    [{ type: "__proto__" }, "type"],
    [{ type: "bid" }, "type"],
    [{ type: "ping", more: 1 }, "more"],
    ['{"type":"ping","__proto__":{}}', "__proto__"],
    [{ type: "authenticate" }, "token"],
    [{ type: "authenticate", token: "" }, "token"],
    [{ type: "subscribe" }, "lots"],
    [{ type: "subscribe", lots: [] }, "lots"],
    [{ type: "subscribe", lots: "lot-1" }, "lots"],
    [{ type: "subscribe", lots: ["lot-1", "lot-1"] }, "lots"],
    [{ type: "subscribe", lots: ["Lot 1"] }, "lots.0"],
    [{ type: "subscribe", lots: ["*"] }, "lots.0"],
    [{ type: "subscribe", lots: ["a".repeat(33)] }, "lots.0"],
    [{ type: "subscribe", lots: ["a"], since: { b: { epoch: 1, seq: 1 } } }, "since"],
    [{ type: "subscribe", lots: ["a"], since: { a: { epoch: "1", seq: 1 } } }, "since.a.epoch"],
    [{ type: "subscribe", lots: ["a"], since: { a: { epoch: 1 } } }, "since.a.seq"],
    [{ type: "place_bid", lotId: "a", amountMinor: 1 }, "key"],
    [{ type: "place_bid", lotId: "a", amountMinor: 1, key: "a b" }, "key"],
    [{ type: "place_bid", lotId: "a", amountMinor: 1, key: "k", bidderId: "eve" }, "bidderId"],
    [{ type: "place_bid", lotId: "a", amountMinor: "1", key: "k" }, "amountMinor"],
    [{ type: "place_bid", lotId: "a", amountMinor: 2 ** 53, key: "k" }, "amountMinor"],
    [{ type: "place_bid", lotId: "a", amountMinor: null, key: "k" }, "amountMinor"],
    [
      '{"type":"place_bid","lotId":"a","key":"k","amountMinor":5,"\\u0061mountMinor":9.00000000000000001}',
      "amountMinor",
    ],
  ];
  for (const [message, field] of cases) {
    const reading = readMessage(typeof message === "string" ? message : JSON.stringify(message));
    expect(reading, JSON.stringify(message)).toMatchObject({ ok: false });
    expect("field" in reading ? reading.field : undefined, JSON.stringify(message)).toBe(field);
  }
});

test("a bid that is wrong can be answered as a bid as long as its key is good", () => {
  const wrong = (bid: object) => readMessage(JSON.stringify({ type: "place_bid", ...bid }));
  expect(wrong({ lotId: "a", amountMinor: -1, key: "k" })).toMatchObject({
    bid: { key: "k", lotId: "a" },
  });
  expect(wrong({ lotId: "A", amountMinor: 1, key: "k" })).toMatchObject({
    bid: { key: "k", lotId: null },
  });
  expect(wrong({ lotId: "a", amountMinor: 1, key: "\n" })).not.toHaveProperty("bid");
});
