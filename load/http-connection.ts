/** A keep-alive HTTP connection on a bare socket, one request at a time, to keep the cost of the load low. */
import { connect, type Socket } from "node:net";

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** No byte was sent, so nothing was decided. */
export class NotSent extends Error {}

const HEAD_END = Buffer.from("\r\n\r\n");

export class HttpConnection {
  readonly #port: number;
  readonly #host: string;
  #socket: Socket | null = null;
  #connected = false;
  #rest: Buffer = Buffer.alloc(0);
  #waiting: { resolve: (answer: HttpAnswer) => void; reject: (error: Error) => void } | null = null;

  constructor(port: number, host = "127.0.0.1") {
    this.#port = port;
    this.#host = host;
  }

  /**
   * @throws NotSent when there is no connection within `timeoutMs`; Error when the connection broke or no answer
   *   arrived: the request may have been handled or not
   */
  async ask(head: string, body: string, timeoutMs: number): Promise<HttpAnswer> {
    const timer = setTimeout(() => this.close("timeout"), timeoutMs);
    try {
      const socket = await this.#open();
      return await new Promise<HttpAnswer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        const length = body === "" ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
        socket.write(`${head}host: localhost\r\n${length}\r\n${body}`);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  close(why = "closed"): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#connected = false;
    this.#rest = Buffer.alloc(0);
    socket?.destroy(new Error(why));
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.reject(new Error(why));
  }

  #open(): Promise<Socket> {
    if (this.#socket && this.#connected) return Promise.resolve(this.#socket);
    const socket = connect({ port: this.#port, host: this.#host, noDelay: true });
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      socket.once("connect", () => {
        this.#connected = true;
        resolve(socket);
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        reject(new NotSent("no connection"));
        if (this.#socket === socket) this.close();
      });
      socket.on("data", (chunk) => {
        if (this.#socket === socket) this.#read(chunk);
      });
    });
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const headEnd = this.#rest.indexOf(HEAD_END);
    if (headEnd < 0) return;
    const head = this.#rest.toString("latin1", 0, headEnd);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? "0");
    const end = headEnd + HEAD_END.length + length;
    if (this.#rest.length < end) return;
    const body = this.#rest.toString("utf8", headEnd + HEAD_END.length, end);
    this.#rest = Buffer.alloc(0);
    const waiting = this.#waiting;
    this.#waiting = null;
    if (/connection: close/i.test(head)) this.close();
    waiting?.resolve({ status: Number(head.slice(9, 12)), body });
  }
}
