/** Where the servers of a process listen. */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import type { FastifyInstance } from "fastify";
import Type from "typebox";

export const ListenEnv = {
  HOST: Type.Optional(
    Type.String({
      description:
        "Address to listen on; localhost: both loopback addresses. Default: every address of the machine, including IPv6 if it has any.",
      minLength: 1,
    }),
  ),
};

/** The addresses to listen on for a HOST. A socket on `::` takes IPv4, too; no socket takes both loopback addresses. */
export function addressesOf(
  host: string | undefined,
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): [string, ...string[]] {
  const addresses = Object.values(interfaces).flatMap((of) => of ?? []);
  if (host === undefined) {
    return [addresses.some(({ family }) => family === "IPv6") ? "::" : "0.0.0.0"];
  }
  if (host !== "localhost") return [host];
  const hasIPv6 = addresses.some(({ address }) => address === "::1");
  return hasIPv6 ? ["127.0.0.1", "::1"] : ["127.0.0.1"];
}

/** @returns the URL at which a process of this machine reaches it */
export async function listen(
  app: FastifyInstance,
  host: string | undefined,
  port: number,
  reusePort = false,
): Promise<string> {
  const [first, ...others] = addressesOf(host);
  const options = { host: first, port, reusePort }; // fastify passes it on, and does not declare it
  await app.listen(options);
  await alsoListen(app.server, others, reusePort);
  const { port: taken } = app.server.address() as AddressInfo;
  return `http://${hostInUrl(first)}:${taken}`;
}

export function hostInUrl(address: string): string {
  if (address === "::" || address === "0.0.0.0") return "localhost";
  return address.includes(":") ? `[${address}]` : address;
}

/**
 * Serves what connects to other addresses at the port of a server. They close with the server, and `server.close()`
 * calls back when the connections of every address have ended.
 */
export async function alsoListen(
  server: Server,
  addresses: readonly string[],
  reusePort = false,
): Promise<void> {
  const { port } = server.address() as AddressInfo;
  for (const host of addresses) {
    const other = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      server.emit("connection", socket);
    });
    if (server.maxConnections !== undefined) other.maxConnections = server.maxConnections;
    other.listen({ host, port, reusePort });
    await once(other, "listening");
    const close = server.close.bind(server);
    server.close = (done) => {
      const ended = new Promise((resolve) => void other.close(resolve));
      return close((error) => void ended.then(() => done?.(error)));
    };
  }
}
