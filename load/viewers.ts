/**
 * Many viewers in one process, on bare sockets: they connect, subscribe to one lot, and count frames.
 *
 * Message in:  {port, viewers, lotId, marker}: without a lotId the sockets only listen. Then a string:
 *              the next text to wait for.
 * Message out: {connected} once all are there (and have their snapshot), then for each text waited for
 *              {atMs: when the last viewer had it, firstMs, bytes}, by the clock of this machine
 */
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { randomBytes } from "node:crypto";

interface Connect {
  readonly port: number;
  readonly viewers: number;
  readonly lotId: string | null;
}

let pending: { marker: Buffer; had: number; firstMs: number; bytes: number } | null = null;
let viewers = 0;

const nowMs = () => performance.timeOrigin + performance.now();

process.on("message", (message: Connect | { marker: string }) => {
  if ("marker" in message) {
    pending = { marker: Buffer.from(message.marker), had: 0, firstMs: 0, bytes: 0 };
    process.send!({ waiting: true });
  } else {
    void connectAll(message);
  }
});
process.on("SIGTERM", () => process.exit(0));

async function connectAll({ port, viewers: count, lotId }: Connect): Promise<void> {
  viewers = count;
  for (let at = 0; at < count; at += 200) {
    const slice = Math.min(200, count - at);
    await Promise.all(Array.from({ length: slice }, () => viewer(port, lotId)));
  }
  process.send!({ connected: count });
}

/** Resolves when the viewer is connected and, if it subscribes, has its snapshot. */
function viewer(port: number, lotId: string | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", reject);
    let ready = false;
    socket.on("connect", () => {
      if (lotId === null) {
        ready = true;
        return resolve();
      }
      const key = randomBytes(16).toString("base64");
      socket.write(
        `GET /v1/stream HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
          `sec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`,
      );
    });
    socket.on("data", (chunk) => {
      if (ready) return count(chunk);
      if (chunk.includes("101 Switching")) {
        sendText(socket, JSON.stringify({ type: "subscribe", lots: [lotId] }));
      }
      if (chunk.includes('"snapshot"')) {
        ready = true;
        resolve();
      }
    });
  });
}

function count(chunk: Buffer): void {
  if (!pending) return;
  pending.bytes += chunk.length;
  if (!chunk.includes(pending.marker)) return;
  pending.had++;
  if (pending.had === 1) pending.firstMs = nowMs();
  if (pending.had < viewers) return;
  const { firstMs, bytes } = pending;
  pending = null;
  process.send!({ atMs: nowMs(), firstMs, bytes });
}

/** Sends a masked frame, as RFC 6455 requires of clients. A mask of zeros does not change the text. */
function sendText(socket: Socket, text: string): void {
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new Error("text is too long for a short frame");
  socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
}
