import { createServer, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { networkInterfaces } from "node:os";
import { fastify } from "fastify";
import { expect, test } from "vitest";
import { until } from "../testing/until.ts";
import { addressesOf, alsoListen, hostInUrl, listen } from "./listen.ts";

const of = (...addresses: string[]) =>
  ({
    eth0: addresses.map((address) => ({
      address,
      family: address.includes(":") ? "IPv6" : "IPv4",
    })),
  }) as unknown as ReturnType<typeof networkInterfaces>;

test.each([
  [undefined, of("127.0.0.1", "10.0.0.1"), ["0.0.0.0"]],
  [undefined, of("127.0.0.1", "::1", "10.0.0.1", "fd00::1"), ["::"]],
  [undefined, of("::1", "fd00::1"), ["::"]],
  ["localhost", of("127.0.0.1", "::1", "fd00::1"), ["127.0.0.1", "::1"]],
  ["localhost", of("127.0.0.1", "fd00::1"), ["127.0.0.1"]],
  ["127.0.0.1", of("127.0.0.1", "::1"), ["127.0.0.1"]],
  ["fd00::1", of("fd00::1"), ["fd00::1"]],
])("HOST %s listens on the addresses that the machine has", (host, interfaces, addresses) => {
  expect(addressesOf(host, interfaces)).toEqual(addresses);
});

test.each([
  ["::", "localhost"],
  ["0.0.0.0", "localhost"],
  ["::1", "[::1]"],
  ["10.0.0.1", "10.0.0.1"],
])("hostInUrl(%s) is %s", (address, host) => {
  expect(hostInUrl(address)).toBe(host);
});

/** Both loopback addresses, where the machine has both. */
const LOOPBACK = addressesOf("localhost");

test.each([undefined, "localhost"])(
  "a server with HOST %s answers on every loopback address",
  async (host) => {
    const app = fastify();
    app.get("/", () => "here");
    const url = await listen(app, host, 0);
    const { port } = new URL(url);
    for (const address of LOOPBACK) {
      const answer = await fetch(`http://${hostInUrl(address)}:${port}/`);
      expect([address, await answer.text()]).toEqual([address, "here"]);
    }
    await app.close();
    for (const address of LOOPBACK) {
      await expect(fetch(`http://${hostInUrl(address)}:${port}/`)).rejects.toThrow("fetch failed");
    }
  },
);

test("a closing server answers open requests, and accepts no new ones on any address", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const [, ...others] = LOOPBACK;
  await alsoListen(server, others);
  const { port } = server.address() as AddressInfo;
  const open = LOOPBACK.map((address) => fetch(`http://${hostInUrl(address)}:${port}/`));
  const waiting: ServerResponse[] = [];
  server.on("request", (_request, response) => waiting.push(response));
  await until("the requests have come", () => waiting.length === LOOPBACK.length);

  const closed = once(server, "close");
  server.close();
  for (const address of LOOPBACK) {
    const late = fetch(`http://${hostInUrl(address)}:${port}/`);
    await expect(late, address).rejects.toThrow("fetch failed");
  }
  for (const response of waiting) response.setHeader("connection", "close").end("done");
  for (const answer of open) expect(await (await answer).text()).toBe("done");
  await closed;
});

test.each(LOOPBACK)("closing waits for requests that came in at %s alone", async (address) => {
  const app = fastify();
  const come = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<string>();
  app.get("/", async (_request, reply) => {
    come.resolve();
    return reply.header("connection", "close").send(await answer.promise);
  });
  const { port } = new URL(await listen(app, "localhost", 0));
  const asked = fetch(`http://${hostInUrl(address)}:${port}/`);
  await come.promise;

  const order: string[] = [];
  const closed = app.close().then(() => order.push("closed"));
  await until("nothing listens any more", async () => {
    const late = LOOPBACK.map((each) => fetch(`http://${hostInUrl(each)}:${port}/`));
    const outcomes = await Promise.allSettled(late);
    return outcomes.every(({ status }) => status === "rejected");
  });
  order.push("answered");
  answer.resolve("done");
  expect(await (await asked).text()).toBe("done");
  await closed;
  expect(order).toEqual(["answered", "closed"]);
});
