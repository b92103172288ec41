/**
 * A TCP proxy that misbehaves when told to, in this process: between any two parts, without either
 * knowing. Bytes are never changed, reordered or dropped while a connection lives: as TCP, it delivers
 * them late, or the connection breaks. What was withheld is delivered when the fault is healed, also for
 * a connection whose sender has hung up meanwhile: as after a real partition.
 */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

export type Toxic =
  /** Nobody listens, and connections break. */
  | { readonly kind: "refuse" }
  /** Connections are taken and stay open; nothing comes through. */
  | { readonly kind: "hang" }
  /** Connections are reset, new ones at once. */
  | { readonly kind: "reset" }
  | { readonly kind: "latency"; readonly delayMs: number }
  | { readonly kind: "bandwidth"; readonly bytesPerSecond: number }
  /** Each connection is reset after so many more bytes of replies. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Requests arrive, replies do not. */
  | { readonly kind: "mute" }
  /** Replies would arrive, but requests do not. */
  | { readonly kind: "deaf" };

/** What a proxy has done, so that a test can see that a fault was one. */
interface ProxyCounters {
  connections: number;
  forwardedBytes: number;
  /** Connections broken or refused by us. */
  reset: number;
  cut: number;
  delayedChunks: number;
  throttledChunks: number;
  withheldRequests: number;
  withheldReplies: number;
}

type Direction = "requests" | "replies";

/** Held back in one direction of one connection; beyond it the sender feels backpressure. */
const HELD_MAX_BYTES = 1024 * 1024;
/** A slice of what a throttled connection lets through. */
const SLICE_MS = 20;

export class FaultProxy {
  readonly counters: ProxyCounters = {
    connections: 0,
    forwardedBytes: 0,
    reset: 0,
    cut: 0,
    delayedChunks: 0,
    throttledChunks: 0,
    withheldRequests: 0,
    withheldReplies: 0,
  };
  readonly name: string;
  readonly #upstreamPort: number;
  #server: Server | null = null;
  #port = 0;
  #toxic: Toxic | null = null;
  #links = new Set<Link>();

  /** @param name for messages */
  constructor(name: string, upstreamPort: number) {
    this.name = name;
    this.#upstreamPort = upstreamPort;
  }

  get port(): number {
    return this.#port;
  }

  get toxic(): Toxic | null {
    return this.#toxic;
  }

  /** @param port the one to listen on; 0 takes a free one */
  async listen(port = 0): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket),
    );
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
    this.#port = (server.address() as { port: number }).port;
  }

  /** From now on, for connections that are there and those to come, until `heal`. */
  async inject(toxic: Toxic): Promise<void> {
    if (this.#toxic) throw new Error(`${this.name} has a fault already: ${this.#toxic.kind}`);
    this.#toxic = toxic;
    if (toxic.kind === "refuse") await this.#unlisten();
    if (toxic.kind === "refuse" || toxic.kind === "reset") this.#breakAll();
    if (toxic.kind === "cut") for (const link of this.#links) link.allowReplies(toxic.afterBytes);
  }

  async heal(): Promise<void> {
    const wasRefusing = this.#toxic?.kind === "refuse";
    this.#toxic = null;
    if (wasRefusing) await this.listen(this.#port);
    for (const link of this.#links) link.heal();
  }

  /** Breaks what is open and listens no more. */
  async close(): Promise<void> {
    this.#toxic = null;
    await this.#unlisten();
    for (const link of this.#links) link.break();
  }

  async #unlisten(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (!server) return;
    this.#breakAll();
    server.close();
    await once(server, "close");
  }

  #breakAll(): void {
    for (const link of this.#links) {
      this.counters.reset++;
      link.break();
    }
  }

  #accept(client: Socket): void {
    this.counters.connections++;
    if (this.#toxic?.kind === "reset") {
      this.counters.reset++;
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({
      port: this.#upstreamPort,
      host: "127.0.0.1",
      allowHalfOpen: true,
      noDelay: true,
    });
    const link: Link = new Link(client, upstream, this, () => this.#links.delete(link));
    if (this.#toxic?.kind === "cut") link.allowReplies(this.#toxic.afterBytes);
    this.#links.add(link);
  }
}

/** One connection through the proxy. */
class Link {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #pipes: readonly [Pipe, Pipe];
  readonly #proxy: FaultProxy;
  readonly #onOver: () => void;
  #repliesLeft = Infinity;
  #broken = false;

  constructor(client: Socket, upstream: Socket, proxy: FaultProxy, onOver: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#proxy = proxy;
    this.#onOver = onOver;
    this.#pipes = [
      new Pipe("requests", client, upstream, proxy, () => this.#drained(), null),
      new Pipe(
        "replies",
        upstream,
        client,
        proxy,
        () => this.#drained(),
        (chunk) => this.#cut(chunk),
      ),
    ];
    client.on("error", () => {}).on("close", () => this.#drained());
    // An upstream that is not there, or breaks, breaks the client.
    upstream.on("error", () => this.break()).on("close", () => this.#drained());
  }

  allowReplies(bytes: number): void {
    this.#repliesLeft = bytes;
  }

  heal(): void {
    this.#repliesLeft = Infinity;
    for (const pipe of this.#pipes) pipe.flush();
  }

  break(): void {
    if (this.#broken) return;
    this.#broken = true;
    for (const pipe of this.#pipes) pipe.stop();
    this.#client.resetAndDestroy();
    this.#upstream.resetAndDestroy();
    this.#onOver();
  }

  /** What may still pass of a reply; null once the connection is cut. */
  #cut(chunk: Buffer): Buffer | null {
    if (this.#repliesLeft === Infinity) return chunk;
    if (chunk.length <= this.#repliesLeft) {
      this.#repliesLeft -= chunk.length;
      return chunk;
    }
    this.#proxy.counters.cut++;
    const part = chunk.subarray(0, this.#repliesLeft);
    // The part must leave before the reset overtakes it.
    this.#client.write(part, () => this.break());
    for (const pipe of this.#pipes) pipe.stop();
    return null;
  }

  /** Over when one end is gone and nothing that it had sent is left to deliver. */
  #drained(): void {
    const [requests, replies] = this.#pipes;
    if (this.#broken) return;
    if (this.#client.destroyed && requests.isEmpty) return this.break();
    if (this.#upstream.destroyed && replies.isEmpty) return this.break();
  }
}

interface Held {
  /** Null: the sender has ended. */
  readonly chunk: Buffer | null;
  readonly dueMs: number;
}

/** One direction of a connection: a queue that the toxic of the moment holds back. */
class Pipe {
  readonly #direction: Direction;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #proxy: FaultProxy;
  readonly #onEmpty: () => void;
  readonly #limit: ((chunk: Buffer) => Buffer | null) | null;
  #queue: Held[] = [];
  #heldBytes = 0;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(
    direction: Direction,
    source: Socket,
    sink: Socket,
    proxy: FaultProxy,
    onEmpty: () => void,
    limit: ((chunk: Buffer) => Buffer | null) | null,
  ) {
    this.#direction = direction;
    this.#source = source;
    this.#sink = sink;
    this.#proxy = proxy;
    this.#onEmpty = onEmpty;
    this.#limit = limit;
    source.on("data", (chunk: Buffer) => this.#take(chunk));
    source.on("end", () => this.#take(null));
    sink.on("drain", () => this.flush());
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  stop(): void {
    this.#stopped = true;
    this.#queue = [];
    if (this.#timer) clearTimeout(this.#timer);
  }

  #take(chunk: Buffer | null): void {
    if (this.#stopped) return;
    const { toxic, counters } = this.#proxy;
    let dueMs = 0;
    if (toxic?.kind === "latency") {
      counters.delayedChunks++;
      dueMs = performance.now() + toxic.delayMs;
    }
    if (chunk && this.#isBlocked()) {
      if (this.#direction === "requests") counters.withheldRequests++;
      else counters.withheldReplies++;
    }
    this.#queue.push({ chunk, dueMs });
    this.#heldBytes += chunk?.length ?? 0;
    if (this.#heldBytes > HELD_MAX_BYTES) this.#source.pause();
    this.flush();
  }

  #isBlocked(): boolean {
    const kind = this.#proxy.toxic?.kind;
    if (kind === "hang") return true;
    return kind === (this.#direction === "requests" ? "deaf" : "mute");
  }

  /** Passes on what may pass now, and comes back for what may pass later. */
  flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    while (this.#queue.length > 0 && !this.#stopped && !this.#isBlocked()) {
      if (this.#sink.writableNeedDrain && !this.#sink.destroyed) return;
      const [{ chunk, dueMs }] = this.#queue as [Held];
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) return this.#later(waitMs);
      if (chunk && this.#proxy.toxic?.kind === "bandwidth") {
        return this.#trickle(chunk, this.#proxy.toxic.bytesPerSecond);
      }
      this.#queue.shift();
      this.#pass(chunk);
    }
    if (this.#queue.length === 0) this.#onEmpty();
  }

  #trickle(chunk: Buffer, bytesPerSecond: number): void {
    const bytes = Math.max(1, Math.floor((bytesPerSecond * SLICE_MS) / 1_000));
    this.#proxy.counters.throttledChunks++;
    this.#queue.shift();
    if (chunk.length > bytes) this.#queue.unshift({ chunk: chunk.subarray(bytes), dueMs: 0 });
    this.#pass(chunk.subarray(0, bytes));
    this.#later(SLICE_MS);
  }

  #later(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => this.flush(), ms);
  }

  #pass(chunk: Buffer | null): void {
    if (chunk === null) return void this.#sink.end();
    this.#heldBytes -= chunk.length;
    if (this.#heldBytes <= HELD_MAX_BYTES && this.#source.isPaused()) this.#source.resume();
    const allowed = this.#limit ? this.#limit(chunk) : chunk;
    if (allowed === null || this.#sink.destroyed) return;
    this.#proxy.counters.forwardedBytes += allowed.length;
    this.#sink.write(allowed);
  }
}
