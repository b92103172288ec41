import { compareIds } from "../../store/outbox.ts";

/** A mark stands for a 128th of what is kept, in time and in bytes. */
const STEPS = 128;

interface Mark {
  outboxId: string;
  streamSeq: number;
  bytes: number;
}

/**
 * Decides which archived entries stay in the outbox and on the stream: viewers resume from them, and a Postgres
 * restored from a backup catches up from them. It keeps about 2 × 128 marks of this run. Entries that an
 * earlier run archived are dropped by age alone.
 */
export class Retention {
  #marks: Mark[] = [];
  readonly #retainMs: number;
  readonly #retainBytes: number;

  constructor(retainMs: number, retainBytes: number) {
    this.#retainMs = retainMs;
    this.#retainBytes = retainBytes;
  }

  /** How many marks it keeps. */
  get marks(): number {
    return this.#marks.length;
  }

  archived(outboxId: string, streamSeq: number, bytes: number): void {
    const last = this.#marks.at(-1);
    const fits =
      last !== undefined &&
      last.bytes + bytes <= this.#retainBytes / STEPS &&
      msOf(outboxId) - msOf(last.outboxId) <= this.#retainMs / STEPS;
    if (!fits) this.#marks.push({ outboxId, streamSeq, bytes });
    else {
      last.bytes += bytes;
      last.streamSeq = streamSeq;
    }
  }

  /**
   * @param nowMs Redis's clock, by which ids are made
   * @param archivedId what Postgres has committed: nothing above it is ever dropped
   * @returns the oldest outbox entry to keep, and the oldest message, null if none may go
   */
  keepFrom(nowMs: number, archivedId: string): { minId: string; streamSeq: number | null } {
    let minId = `${Math.max(0, nowMs - this.#retainMs)}-0`;
    let bytes = 0;
    for (const mark of this.#marks.toReversed()) {
      bytes += mark.bytes;
      if (bytes <= this.#retainBytes) continue;
      if (compareIds(mark.outboxId, minId) > 0) minId = mark.outboxId;
      break;
    }
    if (compareIds(minId, archivedId) > 0) minId = archivedId;
    // A mark has the id of its first entry and the message of its last: drop up to the last message of the last
    // dropped mark.
    const kept = this.#marks.findIndex((mark) => compareIds(mark.outboxId, minId) >= 0);
    const dropped = this.#marks.splice(0, kept === -1 ? this.#marks.length : kept);
    const last = dropped.at(-1);
    return { minId, streamSeq: last === undefined ? null : last.streamSeq + 1 };
  }
}

function msOf(id: string): number {
  return Number(id.split("-", 1)[0]);
}
