import type { LotEvent } from "../lot/events.ts";
import { isBehind, type Position } from "../lot/position.ts";

/** How much of the outbox a process remembers: what a store lost is younger than this, or relayed. */
const ENTRIES_MAX = 2_000;
const BYTES_MAX = 4 * 1024 * 1024;

interface Kept {
  readonly lotId: string;
  readonly text: string;
  readonly last: Position;
}

/** The latest outbox entries as they were read, should the store lose them after they were shown. */
export class KeptEntries {
  #entries: Kept[] = [];
  #bytes = 0;

  /** @param events what `text` says, at least one */
  keep(lotId: string, text: string, events: readonly LotEvent[]): void {
    const { epoch, seq } = events.at(-1)!;
    this.#entries.push({ lotId, text, last: { epoch, seq } });
    this.#bytes += text.length;
    // Dropped in slices: shifting an array for every entry would cost more than the entry.
    if (this.#entries.length <= 2 * ENTRIES_MAX && this.#bytes <= 2 * BYTES_MAX) return;
    let [from, bytes] = [this.#entries.length, 0];
    while (from > 0 && this.#entries.length - from < ENTRIES_MAX && bytes < BYTES_MAX) {
      bytes += this.#entries[--from]!.text.length;
    }
    this.#entries = this.#entries.slice(from);
    this.#bytes = bytes;
  }

  get count(): number {
    return this.#entries.length;
  }

  /** The texts of a lot's entries that end after `since`, oldest first. */
  after(lotId: string, since: Position): string[] {
    return this.#entries
      .filter((entry) => entry.lotId === lotId && isBehind(since, entry.last))
      .map(({ text }) => text);
  }
}
