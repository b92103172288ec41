/** Places bids over a WebSocket, one at a time. The answer is matched by its key. */
import WebSocket from "ws";
import { NotSent } from "./http-connection.ts";

type BidResult = { readonly key: string; readonly accepted: boolean } & Record<string, any>;

export class BidSocket {
  readonly #port: number;
  readonly #host: string;
  readonly #token: string;
  #socket: WebSocket | null = null;
  #waiting: { key: string; resolve: (r: BidResult) => void; reject: (e: Error) => void } | null =
    null;

  constructor(port: number, token: string, host = "127.0.0.1") {
    this.#port = port;
    this.#host = host;
    this.#token = token;
  }

  /** @throws as HttpConnection.ask */
  async bid(
    bid: { lotId: string; amountMinor: number; key: string },
    timeoutMs: number,
  ): Promise<BidResult> {
    const timer = setTimeout(() => this.close("timeout"), timeoutMs);
    try {
      const socket = await this.#open();
      return await new Promise<BidResult>((resolve, reject) => {
        this.#waiting = { key: bid.key, resolve, reject };
        socket.send(JSON.stringify({ type: "place_bid", ...bid }));
      });
    } finally {
      clearTimeout(timer);
    }
  }

  close(why = "closed"): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.terminate();
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.reject(new Error(why));
  }

  #open(): Promise<WebSocket> {
    if (this.#socket?.readyState === WebSocket.OPEN) return Promise.resolve(this.#socket);
    const socket = new WebSocket(`ws://${this.#host}:${this.#port}/v1/stream`, {
      perMessageDeflate: false,
    });
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      socket.on("open", () => {
        socket.send(JSON.stringify({ type: "authenticate", token: this.#token }));
        resolve(socket);
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        reject(new NotSent("no connection"));
        if (this.#socket === socket) this.close();
      });
      socket.on("message", (data) => {
        const message = JSON.parse(String(data)) as BidResult & { type: string };
        if (message.type !== "bid_result" || message.key !== this.#waiting?.key) return;
        const { resolve: settle } = this.#waiting;
        this.#waiting = null;
        settle(message);
      });
    });
  }
}
