/** All connections of one process to Redis. The process counts as connected while every one of them is ready. */
import type { Logger } from "../runtime/log.ts";
import {
  connectStore,
  startConnecting,
  type Store,
  type StoreUrl,
  whyNotConnected,
} from "./connect.ts";
import { StoreUnavailable } from "./unreachable.ts";

export class StoreConnections {
  readonly #stores = new Map<string, Store>();
  readonly #url: StoreUrl;
  readonly #process: string;
  readonly #log: Logger;
  readonly #onChange: (connected: boolean) => void;

  /**
   * @param process begins the name of each connection in CLIENT LIST
   * @param onChange is called whenever a connection becomes ready or closes
   */
  constructor(
    url: StoreUrl,
    process: string,
    log: Logger,
    onChange: (connected: boolean) => void = () => {},
  ) {
    this.#url = url;
    this.#process = process;
    this.#log = log;
    this.#onChange = onChange;
  }

  /** Opens one more connection, without waiting for it. @param work what it is for; unique in the process */
  open(work: string, timeoutMs?: number): Store {
    const connection = `${this.#process}-${work}`;
    const store = connectStore(this.#url, connection, timeoutMs);
    this.#stores.set(work, store);
    let reported = false;
    startConnecting(store, (error) => {
      // ioredis retries many times a second: an outage is logged once.
      if (!reported) this.#log.warn({ err: error, connection }, "store connection lost");
      reported = true;
    });
    store.on("close", () => this.#onChange(this.connected));
    store.on("ready", () => {
      this.#log.info({ connection }, "store connected");
      reported = false;
      this.#onChange(this.connected);
    });
    return store;
  }

  get connected(): boolean {
    return this.#missing().length === 0;
  }

  /** @throws StoreUnavailable that names the connections that are not ready, and why one of them is not */
  requireAll(): void {
    const missing = this.#missing();
    if (missing.length === 0) return;
    const why = missing.map((work) => whyNotConnected(this.#stores.get(work)!)).find(Boolean) ?? "";
    throw new StoreUnavailable(`no connection to Redis for ${missing.join(", ")}${why}`);
  }

  close(): void {
    for (const store of this.#stores.values()) store.disconnect();
  }

  #missing(): string[] {
    return [...this.#stores].flatMap(([work, { status }]) => (status === "ready" ? [] : [work]));
  }
}
