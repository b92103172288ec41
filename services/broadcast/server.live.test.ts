import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { beforeAll, expect, test } from "vitest";
import type { Store } from "../store/connect.ts";
import type { Keys } from "../store/keys.ts";
import { placeBids } from "../store/place-bids.ts";
import { addressesOf, hostInUrl } from "../runtime/listen.ts";
import { bid, defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { startRedis, type TestServer } from "../testing/servers.ts";
import { withMargin } from "../testing/margin.ts";
import { until } from "../testing/until.ts";
import { connectViewer, type Frame, type TestViewer } from "../testing/viewer.ts";
import type { Broadcast } from "./app.ts";
import { startOne, tokenOf } from "../testing/broadcast.ts";
import { CLOSE_CODES, STREAM_MESSAGE_MAX_BYTES } from "./protocol.ts";

let redis: TestServer;
let store: Store;
beforeAll(async () => {
  redis = await startRedis();
  store = await openStore(redis.url);
});

test("a viewer of 100 lots with the longest names resumes them all in one message", async () => {
  const lotIds = Array.from({ length: 100 }, (_, n) => String(n).padStart(32, "a"));
  const lots = lotIds.map((lotId) => lotDefinition(lotId));
  const { definition } = await defineAndOpen(store, { lots });
  const { url, internalUrl } = await startOne(redis.url, definition.uid);
  await until("the lots are known", async () => (await fetch(`${internalUrl}/readyz`)).ok);
  const viewer = await connectViewer(url);
  const snapshots = async (since: object) => {
    const from = viewer.frames.length;
    viewer.send({ type: "subscribe", lots: lotIds, ...since });
    return until("every lot is shown", () => {
      const shown = viewer.frames.slice(from).filter(({ type }) => type === "snapshot");
      return shown.length === lotIds.length ? shown : null;
    });
  };
  const first = await snapshots({});
  const at = first.map(({ lotId, epoch, seq }) => [lotId, { epoch, seq }]);
  const again = await snapshots({ since: Object.fromEntries(at) });
  expect(again.every(({ recovered }) => recovered === true)).toBe(true);
  viewer.close();
});

/** A WebSocket by hand: it can be told to do what no library would. */
interface RawViewer {
  readonly socket: Socket;
  /** All bytes that came after the handshake. */
  received(): Buffer;
  /** The code of the close frame that came; null when none did. */
  closeCode(): number | null;
}

async function connectRaw(url: string, headers = ""): Promise<RawViewer & { status: string }> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let bytes: Buffer = Buffer.alloc(0);
  socket.on("data", (data) => (bytes = Buffer.concat([bytes, data])));
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(
    `GET ${pathname} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`,
  );
  await until("the handshake is answered", () => bytes.includes("\r\n\r\n"));
  const body = bytes.indexOf("\r\n\r\n") + 4;
  const status = bytes.toString("utf8", 9, 12);
  const received = () => bytes.subarray(body);
  return { socket, status, received, closeCode: () => closeCodeIn(received()) };
}

function closeCodeIn(frames: Buffer): number | null {
  for (let at = 0; at + 1 < frames.length;) {
    const opcode = frames[at]! & 0x0f;
    const short = frames[at + 1]!;
    const start = at + (short < 126 ? 2 : 4);
    if (opcode === 8) return short < 2 ? 1005 : frames.readUInt16BE(start);
    at = start + (short < 126 ? short : frames.readUInt16BE(at + 2));
  }
  return null;
}

/** A masked frame, as a viewer must send them; `first` holds FIN, RSV and opcode. */
function frame(first: number, payload: string | Buffer): Buffer {
  const body = Buffer.from(payload);
  const mask = Buffer.from([1, 2, 3, 4]);
  const length = Buffer.alloc(body.length < 126 ? 1 : body.length < 65_536 ? 3 : 9);
  if (length.length === 1) length[0] = 0x80 | body.length;
  else if (length.length === 3) {
    length[0] = 0x80 | 126;
    length.writeUInt16BE(body.length, 1);
  } else {
    length[0] = 0x80 | 127;
    length.writeBigUInt64BE(BigInt(body.length), 1);
  }
  const masked = body.map((byte, i) => byte ^ mask[i % 4]!);
  return Buffer.concat([Buffer.from([first]), length, mask, masked]);
}
const text = (message: object | string) =>
  frame(0x81, typeof message === "string" ? message : JSON.stringify(message));

async function place(keys: Keys, from: number, count: number): Promise<void> {
  const bids = Array.from({ length: count }, (_, i) => bid(1_000 + 200 * (from + i)));
  const batch = await placeBids(store, keys, "lot-1", bids, { epoch: 0, seq: 0 }, 2 ** 53 - 1);
  for (const { outcome } of batch.placements) expect(outcome).toBe("accepted");
}

async function watch(viewer: TestViewer): Promise<void> {
  await until("the lot is shown", async () => {
    viewer.send({ type: "subscribe", lots: ["lot-1"] });
    return (await viewer.next((f) => "lotId" in f)).type === "snapshot";
  });
}
const seqsOf = (viewer: { frames: readonly Frame[] }) =>
  viewer.frames.filter(({ type }) => /^(bid_accepted|lot_)/.test(type)).map(({ seq }) => seq);
const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function metric({ internalUrl }: Broadcast, name: string): Promise<number> {
  const page = await (await fetch(`${internalUrl}/metrics`)).text();
  const lines = page.split("\n").filter((line) => line.startsWith(`gavel_broadcast_${name}`));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("frames that break the protocol are closed with their code, and cost nobody else anything", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid);
  const canary = await connectViewer(process.url);
  await watch(canary);
  const unmasked = Buffer.concat([Buffer.from([0x81, 15]), Buffer.from('{"type":"ping"}')]);
  const endless = Buffer.concat([
    frame(0x01, "a"),
    ...Array.from({ length: 100 }, () => frame(0x00, "a")),
  ]);
  const cases: [what: string, bytes: Buffer, code: number][] = [
    ["oversized", text("x".repeat(STREAM_MESSAGE_MAX_BYTES + 1)), CLOSE_CODES.too_large.code],
    ["1 MB", text("x".repeat(1_000_000)), CLOSE_CODES.too_large.code],
    ["endless fragments", endless, CLOSE_CODES.too_many_errors.code],
    ["binary", frame(0x82, '{"type":"ping"}'), CLOSE_CODES.binary.code],
    ["unmasked", unmasked, CLOSE_CODES.protocol_error.code],
    ["reserved bit", frame(0xc1, "{}"), CLOSE_CODES.protocol_error.code],
    ["reserved opcode", frame(0x83, "{}"), CLOSE_CODES.protocol_error.code],
    ["not UTF-8", frame(0x81, Buffer.from([0xff, 0xfe])), CLOSE_CODES.not_utf8.code],
    ["garbage", Buffer.from("GET / HTTP/1.1\r\n\r\n"), CLOSE_CODES.protocol_error.code],
  ];
  for (const [i, [what, bytes, code]] of cases.entries()) {
    const raw = await connectRaw(process.url);
    raw.socket.write(bytes);
    await until(`${what} is closed`, () => raw.closeCode() !== null);
    expect([what, raw.closeCode()]).toEqual([what, code]);
    await until(`${what} is gone`, () => raw.socket.destroyed || raw.socket.readableEnded);
    raw.socket.destroy();
    await place(keys, i, 1);
    await canary.next((f) => f.seq === i + 2);
  }
  await until("only the canary is left", async () => (await metric(process, "sockets")) === 1);
  expect(await metric(process, "closes_total")).toBe(cases.length);
  canary.close();
});

test("messages that are not understood are answered, and after ten of them the socket is closed", async () => {
  const { definition } = await defineAndOpen(store);
  const { url } = await startOne(redis.url, definition.uid);
  const viewer = await connectViewer(url);
  for (const message of ["", "{", "[]", '"x"', "[".repeat(4_000), '{"type":"constructor"}']) {
    viewer.send(message);
    expect((await viewer.next("error")).problem).toMatchObject({ code: "invalid", status: 400 });
  }
  viewer.send({ type: "ping" });
  expect((await viewer.next("pong")).serverTimeMs).toBeGreaterThan(0);
  for (let i = 0; i < 5; i++) viewer.send({ type: "pong" });
  expect(await viewer.closed).toMatchObject({ code: 1008, reason: "too_many_errors" });
});

test("a socket that asks too much is closed, be it by messages or by pings", async () => {
  const { definition } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid, {
    MESSAGES_PER_SECOND: "20",
  });
  const viewer = await connectViewer(process.url);
  for (let i = 0; i < 60; i++) viewer.send({ type: "ping" });
  expect(await viewer.closed).toMatchObject({ code: 4429 });
  const raw = await connectRaw(process.url);
  for (let i = 0; i < 60; i++) raw.socket.write(frame(0x89, "x"));
  await until("it is closed", () => raw.closeCode() === 4429);
  raw.socket.destroy();
});

test("a socket is refused at another path, for another origin, above the limits", async () => {
  const { definition } = await defineAndOpen(store, {});
  const { url } = await startOne(redis.url, definition.uid, {
    ALLOWED_ORIGINS: "https://Sale.Example:443, https://b.example",
    MAX_SOCKETS: "2",
    MAX_LOTS_PER_SOCKET: "1",
  });
  const status = async (to: string, headers = "") => {
    const raw = await connectRaw(to, headers);
    if (raw.status !== "101") raw.socket.destroy();
    return raw.status;
  };
  expect(await status(url.replace("/v1/stream", "/v1/streams"))).toBe("404");
  expect(await status(url, "Origin: https://good.example\r\n")).toBe("403");
  expect(await status(url, "Origin: https://sale.example.evil.example\r\n")).toBe("403");
  expect(await status(url, "Origin: null\r\n")).toBe("403");
  const http = await fetch(url.replace("ws:", "http:"));
  expect(http.status).toBe(426);
  expect((await fetch(url.replace("ws:", "http:").replace("stream", "x"))).status).toBe(404);

  expect(await status(url, "Origin: https://sale.example\r\n")).toBe("101");
  const viewer = await connectViewer(url);
  const refused = await connectRaw(url);
  expect(refused.status).toBe("503");

  await watch(viewer);
  viewer.send({ type: "subscribe", lots: ["lot-1", "lot-2"] });
  expect(await viewer.next("error")).toMatchObject({
    lotId: "lot-2",
    problem: { code: "invalid", field: "lots" },
  });
  viewer.close();
});

test("an invalid handshake is refused with a problem, and no subprotocol is selected", async () => {
  const { definition } = await defineAndOpen(store, {});
  const { url } = await startOne(redis.url, definition.uid);
  const { hostname: host, port } = new URL(url);
  const ask = async (line: string, headers: string) => {
    const socket = connect({ host, port: Number(port) });
    let text = "";
    let isOver = false;
    socket.on("data", (data) => (text += data.toString("latin1")));
    socket.on("end", () => (isOver = true)).on("error", () => (isOver = true));
    socket.write(`${line} HTTP/1.1\r\n${headers}\r\n`);
    await until(`${line} is answered`, () => isOver || text.startsWith("HTTP/1.1 101"));
    socket.destroy();
    const [head = "", body = ""] = text.split("\r\n\r\n");
    return { head, status: Number(head.slice(9, 12)), body };
  };
  const HOST = "host: x\r\n";
  const UPGRADE = "connection: Upgrade\r\nupgrade: websocket\r\n";
  const H2C = "connection: Upgrade\r\nupgrade: h2c\r\n";
  const VERSION = "sec-websocket-version: 13\r\n";
  const KEY = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const ALL = HOST + UPGRADE + VERSION + KEY;
  const STREAM = "GET /v1/stream";
  const cases: [line: string, headers: string, status: number, code: string][] = [
    [STREAM, HOST + UPGRADE + VERSION, 400, "invalid"],
    [STREAM, HOST + UPGRADE + KEY, 400, "invalid"],
    [STREAM, `${HOST}${UPGRADE}${KEY}sec-websocket-version: 12\r\n`, 400, "invalid"],
    [STREAM, HOST + H2C + VERSION + KEY, 400, "invalid"],
    [STREAM, `${ALL}sec-websocket-protocol: a,,b\r\n`, 400, "invalid"],
    [STREAM, UPGRADE + VERSION + KEY, 400, "invalid"],
    [STREAM, ALL + HOST, 400, "invalid"],
    [STREAM, "", 400, "invalid"],
    [STREAM, HOST, 426, "not_found"],
    ["GET /", HOST, 404, "not_found"],
    ["GET http://x/v1", ALL, 404, "not_found"],
    ["POST /v1/stream", ALL, 405, "method_not_allowed"],
    ["CONNECT x:80", HOST, 405, "method_not_allowed"],
    [STREAM, `${HOST}expect: 200-ok\r\n`, 417, "expectation_failed"],
    [STREAM, `${HOST}x: ${"a".repeat(20_000)}\r\n`, 431, "headers_too_large"],
    ["garbage", "", 400, "invalid"],
  ];
  for (const [line, headers, status, code] of cases) {
    const { head, body, ...answer } = await ask(line, headers);
    const asked = `${line}\n${headers.slice(0, 200)}`;
    expect([asked, answer.status]).toEqual([asked, status]);
    expect(head).toMatch(/content-type: application\/problem\+json/i);
    expect([asked, JSON.parse(body)]).toMatchObject([asked, { code, status }]);
  }
  for (const [line, headers] of [
    [STREAM, `${ALL}sec-websocket-protocol: chat, json\r\n`],
    ["GET http://x/v1/stream?a=b", ALL],
    ["GET ws://x/v1/stream", ALL],
  ] as const) {
    const { status, head } = await ask(line, headers);
    expect([line, status]).toEqual([line, 101]);
    expect(head).not.toMatch(/sec-websocket-protocol/i);
  }
});

test("by default the stream listens on every address, and as localhost on both loopback addresses", async () => {
  const { definition } = await defineAndOpen(store);
  for (const HOST of ["", "localhost"]) {
    const process = await startOne(redis.url, definition.uid, { HOST });
    const viewers = [];
    for (const address of addressesOf("localhost").map(hostInUrl)) {
      const url = new URL(process.url);
      url.hostname = address;
      const viewer = await connectViewer(url.href);
      await watch(viewer);
      viewers.push(viewer);
    }
    await process.stop();
    for (const viewer of viewers) expect((await viewer.closed).code).toBe(1012);
  }
});

test("a stalled reader is conflated, then goes on; fifty others miss nothing meanwhile", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid, { MESSAGES_PER_SECOND: "10000" });
  const others = await Promise.all(Array.from({ length: 50 }, () => connectViewer(process.url)));
  for (const viewer of others) await watch(viewer);
  const stalled = await connectRaw(process.url);
  stalled.socket.write(text({ type: "subscribe", lots: ["lot-1"] }));
  await until("it watches", () => stalled.received().includes('"snapshot"'));
  await stopReading(process, stalled);

  await place(keys, 0, 200);
  await place(keys, 200, 100);
  for (const viewer of others) await viewer.next((f) => f.seq === 301);
  for (const viewer of others) expect(seqsOf(viewer)).toEqual(range(1, 301));
  expect(await metric(process, "conflated_total")).toBe(0);

  stalled.socket.resume();
  await until("it is conflated", () => stalled.received().includes('"conflated":true'));
  await place(keys, 300, 1);
  await until("it goes on", () => stalled.received().includes('"seq":302,'));
  expect(await metric(process, "conflated_total")).toBe(1);
  expect(seqsOfRaw(stalled.received())).toEqual({ gaps: 1, last: 302 });
  stalled.socket.destroy();
  for (const viewer of others) viewer.close();
});

const SUBSCRIBE = text({ type: "subscribe", lots: ["lot-1"] });

/** Lets it ask for snapshots that it does not read, until the kernel takes no more of them. */
async function stopReading(process: Broadcast, { socket }: RawViewer): Promise<void> {
  socket.pause();
  const before = await metric(process, "behind");
  await until("it is behind", async () => {
    if ((await metric(process, "behind")) > before) return true;
    for (let i = 0; i < 200; i++) socket.write(SUBSCRIBE);
    return false;
  });
}

/** How often `seq` jumps, and where it ends; it must never go back. */
function seqsOfRaw(frames: Buffer): { gaps: number; last: number } {
  let last = 0;
  let gaps = 0;
  for (const [, found] of frames.toString("latin1").matchAll(/"epoch":1,"seq":(\d+)[,}]/g)) {
    const seq = Number(found);
    expect(seq).toBeGreaterThanOrEqual(last);
    if (seq > last + 1) gaps++;
    last = seq;
  }
  return { gaps, last };
}

test("a reader that stays behind, or asks without reading, is closed and holds no memory", async () => {
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(redis.url, definition.uid, {
    MESSAGES_PER_SECOND: "10000",
  });
  const canary = await connectViewer(process.url);
  await watch(canary);
  const stuck = await connectRaw(process.url);
  await stopReading(process, stuck);
  const greedy = await connectRaw(process.url);
  greedy.socket.pause();

  let events = 0;
  await until("both are closed", async () => {
    for (let i = 0; i < 200; i++) greedy.socket.write(SUBSCRIBE);
    await place(keys, events++, 1);
    return (await metric(process, "closes_total")) === 2;
  });
  await until("their sockets are free", async () => (await metric(process, "sockets")) === 1);
  await canary.next((f) => f.seq === events + 1);
  expect(seqsOf(canary)).toEqual(range(1, events + 1));
  stuck.socket.destroy();
  greedy.socket.destroy();
  canary.close();
});

test("Redis is killed and started again: viewers stay, and miss nothing", async () => {
  const own = await startRedis();
  const main = store;
  store = await openStore(own.url);
  const { definition, keys } = await defineAndOpen(store);
  const process = await startOne(own.url, definition.uid);
  const viewer = await connectViewer(process.url);
  await watch(viewer);
  viewer.send({ type: "authenticate", token: await tokenOf("ada") });
  await place(keys, 0, 5);
  await viewer.next((f) => f.seq === 6);
  const ready = async () => (await fetch(`${process.internalUrl}/readyz`)).status;
  expect(await ready()).toBe(200);

  await own.kill();
  expect(await ready()).toBe(503);
  viewer.send({ type: "subscribe", lots: ["lot-1"], since: { "lot-1": { epoch: 1, seq: 4 } } });
  expect(await viewer.next((f) => f.recovered === true)).toMatchObject({ seq: 6 });
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 9_000, key: "k" });
  expect((await viewer.next("bid_result")).problem).toMatchObject({ status: 503 });

  await own.restart();
  await until("it is ready again", async () => (await ready()) === 200);
  await until("bids are taken", () => place(keys, 40, 1).then(() => true));
  viewer.send({ type: "place_bid", lotId: "lot-1", amountMinor: 20_000, key: "k" });
  await viewer.next((f) => f.accepted === true);
  await place(keys, 200, 100);
  await viewer.next((f) => f.seq === 108);
  const resumed = [5, 6]; // asked for again above
  expect(seqsOf(viewer)).toEqual([...range(1, 6), ...resumed, ...range(7, 108)]);
  viewer.close();
  await process.stop();
  store = main;
});

test("a process that stops answers its bids, tells its viewers when to come back, and takes no more", async () => {
  const own = await startRedis();
  const ownStore = await openStore(own.url);
  const { definition } = await defineAndOpen(ownStore);
  const process = await startOne(own.url, definition.uid, { DRAIN_MS: "3000" });
  const viewers = await Promise.all(Array.from({ length: 30 }, () => connectViewer(process.url)));
  await watch(viewers[0]!);
  const bidding = viewers[1]!;
  bidding.send({ type: "authenticate", token: await tokenOf("ada") });
  await bidding.next("authenticated");
  own.signal("SIGSTOP");
  bidding.send({ type: "place_bid", lotId: "lot-1", amountMinor: 1_000, key: "last" });
  bidding.send({ type: "ping" });
  await bidding.next("pong"); // so the bid has arrived, and waits for Redis

  const startedMs = Date.now();
  const stopped = process.stop();
  expect((await fetch(`${process.internalUrl}/readyz`)).status).toBe(503);
  const raw = await connectRaw(process.url).catch(() => null); // refused by HTTP, or by TCP already
  expect([null, "503"]).toContain(raw?.status ?? null);
  await viewers[2]!.closed;
  own.signal("SIGCONT");
  const waits: number[] = [];
  for (const viewer of viewers) {
    const { code, reason } = await viewer.closed;
    expect(code).toBe(1012);
    waits.push((JSON.parse(reason) as { retryAfterMs: number }).retryAfterMs);
  }
  // They are asked to go slice by slice: each waits within a slice, a twentieth of half the sockets' time.
  expect(Math.max(...waits)).toBeLessThanOrEqual(60);
  expect(new Set(waits).size).toBeGreaterThan(1);
  const results = bidding.frames.filter(({ type }) => type === "bid_result");
  expect(results).toMatchObject([{ key: "last", accepted: true }]);
  await stopped;
  expect(Date.now() - startedMs).toBeLessThan(withMargin(3_000));
});
