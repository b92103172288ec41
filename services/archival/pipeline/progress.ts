import { compareIds } from "../../store/outbox.ts";

/** Where one run of the pair stands: what was relayed, and how far the archive is behind. */
export class Progress {
  #relayedId: string;
  #archivedId: string;
  #movedAtMs = performance.now();
  #between: { id: string; bytes: number }[] = [];
  #betweenBytes = 0;
  #wake: () => void = () => {};

  /** @param watermark both begin there */
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

  /** Entries handed to JetStream that are not archived. */
  get betweenEntries(): number {
    return this.#between.length;
  }

  /** How long nothing was archived although something was handed over; 0 when there is nothing. */
  get waitedMs(): number {
    return this.#between.length === 0 ? 0 : performance.now() - this.#movedAtMs;
  }

  /** An entry goes to JetStream. */
  sending(id: string, bytes: number): void {
    if (this.#between.length === 0) this.#movedAtMs = performance.now();
    this.#between.push({ id, bytes });
    this.#betweenBytes += bytes;
  }

  /** Nothing can be archived at present: that is waited for, and is no stall. */
  archiveIsAway(): void {
    this.#movedAtMs = performance.now();
  }

  relayed(id: string): void {
    if (compareIds(id, this.#relayedId) > 0) this.#relayedId = id;
  }

  archived(id: string): void {
    this.#archivedId = id;
    this.#movedAtMs = performance.now();
    const left = this.#between.findIndex((entry) => compareIds(entry.id, id) > 0);
    const done = this.#between.splice(0, left === -1 ? this.#between.length : left);
    for (const { bytes } of done) this.#betweenBytes -= bytes;
    this.#wake();
  }

  /** Settles when less than `maxBytes` are on their way, or the signal aborts. */
  async room(maxBytes: number, signal: AbortSignal): Promise<void> {
    while (this.#betweenBytes >= maxBytes && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }
}
