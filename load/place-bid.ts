/** Places bids over HTTP or a WebSocket, and records each attempt for the checker. */
import type { BidRecord, RejectionCode } from "../services/lot/checker/history.ts";
import type { BidSocket } from "./bid-socket.ts";
import { type HttpConnection, NotSent } from "./http-connection.ts";
import { nowMs } from "./recorder.ts";

const ATTEMPT_TIMEOUT_MS = 2_000;

const REJECTIONS: readonly string[] = [
  "too_low",
  "jump_too_large",
  "closed",
  "not_open",
  "withdrawn",
  "suspended",
  "key_reused",
];

export interface Bid {
  readonly lotId: string;
  readonly amountMinor: number;
  readonly key: string;
}

/** @returns the answer: `accepted`, and the bid or the problem */
export type PlaceBid = (bid: Bid) => Promise<Record<string, any>>;

export function placeOverHttp(connection: HttpConnection, token: string): PlaceBid {
  const head = `content-type: application/json\r\nauthorization: Bearer ${token}\r\n`;
  return async ({ lotId, amountMinor, key }) => {
    const { body, status } = await connection.ask(
      `POST /v1/lots/${lotId}/bids HTTP/1.1\r\n${head}idempotency-key: ${key}\r\n`,
      `{"amountMinor":${amountMinor}}`,
      ATTEMPT_TIMEOUT_MS,
    );
    const answer = jsonOf(body);
    if (answer === null) {
      // Not from the gateway: while a Service has no pod, a proxy may answer, and would keep answering here.
      connection.close();
      throw new Error(`${status} without a JSON body`);
    }
    return status === 201 ? { ...answer, accepted: true } : { accepted: false, problem: answer };
  };
}

export function placeOverSocket(socket: BidSocket): PlaceBid {
  return ({ lotId, amountMinor, key }) =>
    socket.bid({ lotId, amountMinor, key }, ATTEMPT_TIMEOUT_MS);
}

/** Places a bid once. @param onUnexpected gets an answer that the API does not document */
export async function attemptBid(
  bid: Bid & { readonly process: number; readonly bidderId: string },
  place: PlaceBid,
  onUnexpected: (text: string) => void,
): Promise<BidRecord> {
  const base = { op: "bid", ...bid, invMs: nowMs() } as const;
  try {
    const answer = await place(bid);
    const retMs = nowMs();
    if (answer["accepted"] === true) {
      // The answered lot and amount, not those of the request: the checker compares them.
      const { lotId, amountMinor, bidId, epoch, seq } = answer;
      const { placedAtMs, closesAtMs, minimumMinor } = answer;
      const placed = { lotId, amountMinor, bidId, epoch, seq, placedAtMs, closesAtMs };
      return { ...base, ...placed, minimumMinor, retMs, outcome: "accepted" };
    }
    const { code, minimumMinor, epoch, seq } = answer["problem"];
    if (code === "unavailable") return { ...base, retMs, outcome: "refused" };
    if (code !== "unknown" && REJECTIONS.includes(code)) {
      const state = minimumMinor === undefined ? {} : { minimumMinor, epoch, seq };
      return { ...base, retMs, outcome: "rejected", code: code as RejectionCode, ...state };
    }
    if (code !== "unknown") onUnexpected(`a bid was answered ${JSON.stringify(answer)}`);
    return { ...base, retMs, outcome: "unknown" };
  } catch (error) {
    if (error instanceof NotSent) return { ...base, retMs: nowMs(), outcome: "refused" };
    // Timed out. A later answer is ignored: for this bidder it never arrived.
    return { ...base, retMs: null, outcome: "unknown" };
  }
}

function jsonOf(text: string): object | null {
  try {
    return JSON.parse(text) as object;
  } catch {
    return null;
  }
}
