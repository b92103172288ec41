/**
 * Places bids in a closed loop: each connection sends its next bid when the last one is answered. Uses bare sockets,
 * so that the load costs less than what it measures.
 *
 * Message in:  {port, tokens, lotId, seconds, rising, sinceMs}: one connection per token. With `rising`
 *              amounts rise with the clock since `sinceMs` and are mostly accepted, also beside other clients.
 *              Otherwise every amount is 1 and too low.
 * Message out: {answered, byStatus, seconds, p50Ms, p99Ms}
 */
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

interface HttpLoad {
  readonly port: number;
  readonly tokens: readonly string[];
  readonly lotId: string;
  readonly seconds: number;
  readonly rising: boolean;
  /** The same for all clients of a lot. */
  readonly sinceMs?: number;
}

export interface HttpResult {
  readonly answered: number;
  readonly byStatus: Record<string, number>;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const HEAD_END = Buffer.from("\r\n\r\n");
const STEP_MINOR = 1_000;
/** Faster than one client bids, so that bids of several clients arrive in the order of their amounts. */
const RISE_MINOR_PER_MS = 100_000;
let amountMinor = 1_000_000;
let keys = 0;

function nextMinor({ rising, sinceMs }: HttpLoad): number {
  if (!rising) return 1;
  const elapsedMs =
    sinceMs === undefined ? 0 : performance.timeOrigin + performance.now() - sinceMs;
  amountMinor = Math.max(amountMinor + STEP_MINOR, Math.floor(elapsedMs * RISE_MINOR_PER_MS));
  return amountMinor;
}

process.on("message", async (load: HttpLoad) => process.send!(await run(load)));
process.on("SIGTERM", () => process.exit(0));

async function run(load: HttpLoad): Promise<HttpResult> {
  const byStatus: Record<string, number> = {};
  const tookMs: number[] = [];
  const startedMs = performance.now();
  const untilMs = startedMs + load.seconds * 1_000;
  await Promise.all(load.tokens.map((token) => bidder(load, token, untilMs, byStatus, tookMs)));
  const seconds = (performance.now() - startedMs) / 1_000;
  tookMs.sort((a, b) => a - b);
  const quantile = (q: number) => tookMs[Math.floor(tookMs.length * q)] ?? NaN;
  return {
    answered: tookMs.length,
    byStatus,
    seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
}

function bidder(
  load: HttpLoad,
  token: string,
  untilMs: number,
  byStatus: Record<string, number>,
  tookMs: number[],
): Promise<void> {
  const head =
    `POST /v1/lots/${load.lotId}/bids HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n` +
    `authorization: Bearer ${token}\r\nidempotency-key: ${process.pid}-`;
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port: load.port, host: "127.0.0.1", noDelay: true });
    let sentMs = 0;
    let rest: Buffer = Buffer.alloc(0);
    const send = () => {
      sentMs = performance.now();
      if (sentMs >= untilMs) {
        socket.end();
        return resolve();
      }
      const body = `{"amountMinor":${nextMinor(load)}}`;
      socket.write(`${head}${keys++}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    };
    socket.on("connect", send);
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const headEnd = rest.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const headers = rest.toString("latin1", 0, headEnd);
      const length = /content-length: (\d+)/i.exec(headers)?.[1] ?? "0";
      if (rest.length < headEnd + 4 + Number(length)) return;
      rest = Buffer.alloc(0);
      const status = headers.slice(9, 12);
      byStatus[status] = (byStatus[status] ?? 0) + 1;
      tookMs.push(performance.now() - sentMs);
      send();
    });
  });
}
