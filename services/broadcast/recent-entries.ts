import type { LotEvent } from "../lot/events.ts";
import { isBehind, type Position } from "../lot/position.ts";

/** How much of the outbox a process keeps: events that a store lost are younger than this, or relayed. */
const ENTRIES_MAX = 2_000;
const BYTES_MAX = 4 * 1024 * 1024;

interface Entry {
  readonly lotId: string;
  readonly text: string;
  readonly last: Position;
}

/** The latest outbox entries as they were read: claimed where the store lost them after viewers got them. */
export class RecentEntries {
  #entries: Entry[] = [];
  #bytes = 0;

  /** @param events at least one: `text`, decoded */
  add(lotId: string, text: string, events: readonly LotEvent[]): void {
    const { epoch, seq } = events.at(-1)!;
    this.#entries.push({ lotId, text, last: { epoch, seq } });
    this.#bytes += Buffer.byteLength(text);
    // Dropped in slices: shifting an array for every entry would cost more than the entry.
    if (this.#entries.length <= 2 * ENTRIES_MAX && this.#bytes <= 2 * BYTES_MAX) return;
    let [from, bytes] = [this.#entries.length, 0];
    while (from > 0 && this.#entries.length - from < ENTRIES_MAX && bytes < BYTES_MAX) {
      bytes += Buffer.byteLength(this.#entries[--from]!.text);
    }
    this.#entries = this.#entries.slice(from);
    this.#bytes = bytes;
  }

  /** The texts of a lot's entries that end after `since`, oldest first. */
  after(lotId: string, since: Position): string[] {
    return this.#entries
      .filter((entry) => entry.lotId === lotId && isBehind(since, entry.last))
      .map(({ text }) => text);
  }
}
