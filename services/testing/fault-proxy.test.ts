import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FaultProxy } from "./fault-proxy.ts";
import { until } from "./until.ts";

/** Answers each line with itself in capitals. */
let echo: Server;
let arrived: string;
let proxy: FaultProxy;
const open = new Set<Socket>();

beforeEach(async () => {
  arrived = "";
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("error", () => {});
    socket.on("end", () => socket.end());
    socket.on("data", (chunk) => {
      arrived += chunk.toString();
      socket.write(chunk.toString().toUpperCase());
    });
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
  proxy = new FaultProxy("echo", (echo.address() as { port: number }).port);
  await proxy.listen();
});

afterEach(async () => {
  for (const socket of open) socket.destroy();
  open.clear();
  await proxy.close();
  echo.close();
});

interface Caller {
  readonly socket: Socket;
  readonly text: () => string;
  readonly ended: () => string | null;
}

async function call(): Promise<Caller> {
  const socket = connect({ port: proxy.port, host: "127.0.0.1" });
  open.add(socket);
  let text = "";
  let ended: string | null = null;
  socket.on("data", (chunk) => (text += chunk.toString()));
  socket.on("error", (error: NodeJS.ErrnoException) => (ended = error.code ?? "error"));
  socket.on("close", () => (ended ??= "closed"));
  await new Promise<void>((resolve) => {
    socket.once("connect", () => resolve());
    socket.once("error", () => resolve());
  });
  return { socket, text: () => text, ended: () => ended };
}

test("without a fault everything passes, both ways, and an end is passed on", async () => {
  const caller = await call();
  caller.socket.end("hello");
  await until("it is over", caller.ended);
  expect([caller.text(), caller.ended()]).toEqual(["HELLO", "closed"]);
  expect(proxy.counters.forwardedBytes).toBe(10);
});

test("a megabyte passes whole to one who reads late", async () => {
  const caller = await call();
  caller.socket.pause();
  caller.socket.end("x".repeat(1_000_000));
  await until("it waits", () => arrived.length > 0);
  caller.socket.resume();
  await until("it is over", caller.ended);
  expect(caller.text().length).toBe(1_000_000);
});

test("refuse: nobody listens, what was open breaks, and after healing the port is the same", async () => {
  const before = await call();
  const { port } = proxy;
  await proxy.inject({ kind: "refuse" });
  await until("it breaks", before.ended);
  expect(before.ended()).toBe("ECONNRESET");
  expect((await call()).ended()).toBe("ECONNREFUSED");
  await proxy.heal();
  expect(proxy.port).toBe(port);
  const after = await call();
  after.socket.write("again");
  await until("it answers", () => after.text() === "AGAIN");
});

test("hang: connections stay open and nothing passes; healed, what was sent arrives", async () => {
  const before = await call();
  await proxy.inject({ kind: "hang" });
  const during = await call();
  before.socket.write("a");
  during.socket.write("b");
  await until("both are withheld", () => proxy.counters.withheldRequests === 2);
  expect([arrived, before.ended(), during.ended()]).toEqual(["", null, null]);
  await proxy.heal();
  await until("both answer", () => before.text() === "A" && during.text() === "B");
});

test("hang: what a caller sent before it hung up still arrives when healed", async () => {
  const caller = await call();
  await proxy.inject({ kind: "hang" });
  caller.socket.end("too late");
  caller.socket.destroySoon();
  await until("it is withheld", () => proxy.counters.withheldRequests === 1);
  expect(arrived).toBe("");
  await proxy.heal();
  await until("it arrives", () => arrived === "too late");
});

test("reset: open connections and new ones are reset", async () => {
  const before = await call();
  await proxy.inject({ kind: "reset" });
  await until("it breaks", before.ended);
  const during = await call();
  await until("it breaks", during.ended);
  expect([before.ended(), during.ended()]).toEqual(["ECONNRESET", "ECONNRESET"]);
  expect(proxy.counters.reset).toBe(2);
});

test("latency: each way takes its time, in order", async () => {
  const caller = await call();
  await proxy.inject({ kind: "latency", delayMs: 60 });
  const sentMs = performance.now();
  caller.socket.write("1");
  await until("the first arrived", () => arrived === "1");
  caller.socket.write("2");
  await until("both answered", () => caller.text() === "12");
  expect(performance.now() - sentMs).toBeGreaterThan(175);
  expect(proxy.counters.delayedChunks).toBeGreaterThan(3);
});

test("bandwidth: so many bytes a second and nothing lost", async () => {
  const caller = await call();
  await proxy.inject({ kind: "bandwidth", bytesPerSecond: 10_000 });
  const sentMs = performance.now();
  caller.socket.write("x".repeat(2_000));
  await until("all answered", () => caller.text().length === 2_000);
  expect(performance.now() - sentMs).toBeGreaterThan(180);
});

test("cut: so many bytes of the reply, then a reset; the request has arrived", async () => {
  const caller = await call();
  await proxy.inject({ kind: "cut", afterBytes: 3 });
  caller.socket.write("abcdef");
  await until("it breaks", caller.ended);
  expect([caller.text(), caller.ended(), arrived]).toEqual(["ABC", "ECONNRESET", "abcdef"]);
  expect(proxy.counters.cut).toBe(1);
});

test("mute: requests arrive, replies wait; deaf: requests wait", async () => {
  const caller = await call();
  await proxy.inject({ kind: "mute" });
  caller.socket.write("a");
  await until("it arrived", () => arrived === "a" && proxy.counters.withheldReplies === 1);
  expect(caller.text()).toBe("");
  await proxy.heal();
  await until("it is answered", () => caller.text() === "A");
  await proxy.inject({ kind: "deaf" });
  caller.socket.write("b");
  await until("it is withheld", () => proxy.counters.withheldRequests === 1);
  expect(arrived).toBe("a");
  await proxy.heal();
  await until("it is answered", () => caller.text() === "AB");
});

test("a server that is away is passed on as a broken connection", async () => {
  echo.close();
  const caller = await call();
  await until("it breaks", caller.ended);
  expect(caller.ended()).toBe("ECONNRESET");
});
