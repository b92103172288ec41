/** The floor for fan-out: the same bytes written to the same number of sockets, and nothing else. */
import { createServer, type Socket } from "node:net";

const sockets: Socket[] = [];
const server = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("error", () => {});
  sockets.push(socket);
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object") process.send!({ port: address!.port });
});
process.on("message", ({ bytes }: { bytes: string }) => {
  const frame = Buffer.from(bytes);
  for (const socket of sockets) socket.write(frame);
});
process.on("SIGTERM", () => process.exit(0));
