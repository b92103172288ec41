/**
 * A viewer for tests. It keeps every frame in order, so that a test misses none. It uses the WebSocket of Node,
 * as a browser would, not the library of the server.
 */
import { until } from "./until.ts";

/** Any JSON message; each test checks what it expects. */
export type Frame = { readonly type: string } & Record<string, any>;

export interface TestViewer {
  send(message: object | string): void;
  /** The next wanted frame after those already taken; skips the others. */
  next(wanted: string | ((frame: Frame) => boolean), timeoutMs?: number): Promise<Frame>;
  /** All frames, in order. */
  readonly frames: readonly Frame[];
  readonly closed: Promise<{ code: number; reason: string }>;
  close(): void;
}

/** @throws Error when the socket does not open */
export async function connectViewer(url: string): Promise<TestViewer> {
  const socket = new WebSocket(url);
  const frames: Frame[] = [];
  let taken = 0;
  let over = false;
  socket.addEventListener("message", ({ data }) => {
    frames.push(JSON.parse(String(data)) as Frame);
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.addEventListener("close", ({ code, reason }) => {
      over = true;
      resolve({ code, reason });
    }),
  );
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve, { once: true });
    socket.addEventListener("error", () => reject(new Error(`no viewer at ${url}`)), {
      once: true,
    });
  });
  return {
    send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    next(wanted, timeoutMs) {
      const fits = typeof wanted === "string" ? (f: Frame) => f.type === wanted : wanted;
      const find = (): Frame | null => {
        while (taken < frames.length) {
          const frame = frames[taken++]!;
          if (fits(frame)) return frame;
        }
        if (over) throw new Error("the socket is closed");
        return null;
      };
      return until(`a viewer gets ${String(wanted)}`, find, timeoutMs);
    },
    frames,
    closed,
    close: () => socket.close(),
  };
}
