import { Wake } from "../../runtime/lifecycle.ts";
import { compareIds } from "../../store/outbox.ts";

/** How far one run of the pipeline is: what was relayed, and what was archived. */
export class Progress {
  #relayedId: string;
  #archivedId: string;
  #movedAtMs = performance.now();
  #isDelivered = false;
  #between: { id: string; bytes: number }[] = [];
  #betweenBytes = 0;
  readonly #room = new Wake();

  /** @param watermark where relay and archive begin */
  constructor(watermark: string) {
    this.#relayedId = watermark;
    this.#archivedId = watermark;
  }

  get relayedId(): string {
    return this.#relayedId;
  }

  get archivedId(): string {
    return this.#archivedId;
  }

  /** Whether JetStream delivered something. */
  get isDelivered(): boolean {
    return this.#isDelivered;
  }

  /** Entries handed to JetStream that are not archived. */
  get betweenEntries(): number {
    return this.#between.length;
  }

  /** For how long entries wait and none was archived; 0 when none waits. */
  get stalledMs(): number {
    return this.#between.length === 0 ? 0 : performance.now() - this.#movedAtMs;
  }

  /** An entry is about to be published. */
  sending(id: string, bytes: number): void {
    if (this.#between.length === 0) this.#movedAtMs = performance.now();
    this.#between.push({ id, bytes });
    this.#betweenBytes += bytes;
  }

  /** Postgres does not answer: the archive waits for it, which is not a stall. */
  archiveUnavailable(): void {
    this.#movedAtMs = performance.now();
  }

  relayed(id: string): void {
    if (compareIds(id, this.#relayedId) > 0) this.#relayedId = id;
  }

  delivered(): void {
    this.#isDelivered = true;
  }

  archived(id: string): void {
    this.#archivedId = id;
    this.#movedAtMs = performance.now();
    const left = this.#between.findIndex((entry) => compareIds(entry.id, id) > 0);
    const done = this.#between.splice(0, left === -1 ? this.#between.length : left);
    for (const { bytes } of done) this.#betweenBytes -= bytes;
    this.#room.wake();
  }

  /** Resolves when less than `maxBytes` are between relay and archive, or the signal aborts. */
  async waitForRoom(maxBytes: number, signal: AbortSignal): Promise<void> {
    while (this.#betweenBytes >= maxBytes && !signal.aborted) await this.#room.wait(signal);
  }
}
