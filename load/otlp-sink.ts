/** Receives spans over OTLP/HTTP and drops them. Sends its port at start, and its counts in reply to any message. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

let [spans, bytes] = [0, 0];

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks);
    bytes += body.length;
    spans += body.toString("latin1").split('"spanId"').length - 1;
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
});
server.listen(0, "127.0.0.1", () => {
  process.send!({ port: (server.address() as AddressInfo).port });
});
process.on("message", () => process.send!({ spans, bytes }));
process.on("SIGTERM", () => process.exit(0));
