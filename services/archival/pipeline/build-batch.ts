/** Turns messages into a batch, and finds missing entries and events. Pure. */
import { type Delivery, isRelayed } from "../../bus/entry.ts";
import { isBehind, type Position } from "../../lot/position.ts";
import { compareIds } from "../../store/outbox.ts";
import type { Batch, DeadLetter, Entry } from "../postgres/batch.ts";
import { isGap, type Tail, type Tails } from "../postgres/lot-tails.ts";
import { PipelineFailure } from "./pipeline-failure.ts";
import { readEntry } from "./read-entry.ts";

/** No entry is missing, but an event is: it was never in the outbox. */
export class EventGap extends PipelineFailure {
  readonly lotId: string;
  readonly epoch: number;
  readonly seq: number;

  constructor(lotId: string, { epoch, seq }: Position, tail: Tail) {
    super("gap", `${lotId} ${epoch}.${seq} follows ${tail.epoch}.${tail.seq}: events are missing`);
    this.lotId = lotId;
    this.epoch = epoch;
    this.seq = seq;
  }
}

/**
 * Builds a batch from messages. It begins at `fromId` in the outbox.
 * @returns the batch, and the new tails of its lots
 * @throws PipelineFailure "gap" when an entry or an event is missing before one of them
 */
export function buildBatch(
  deliveries: readonly Delivery[],
  fromId: string,
  tails: Tails,
): { batch: Batch; newTails: Map<string, Tail> } {
  const entries: Entry[] = [];
  const letters: DeadLetter[] = [];
  const newTails = new Map<string, Tail>();
  let toId = fromId;

  for (const delivery of deliveries) {
    if (!isRelayed(delivery)) {
      letters.push(foreignLetter(delivery));
      continue;
    }
    const { lotId, outboxId, afterId, body } = delivery;
    if (compareIds(outboxId, toId) <= 0) continue; // Delivered again: archived, or in this batch.
    if (afterId !== toId) {
      throw new PipelineFailure(
        "gap",
        `entry ${outboxId} follows ${afterId}, but the last archived entry is ${toId}: entries are missing`,
      );
    }
    toId = outboxId;
    const tail = newTails.get(lotId) ?? tails.lots.get(lotId) ?? tails.initial;
    const read = readEntry(lotId, outboxId, body);
    if (read.readable) {
      entries.push(read.entry);
      newTails.set(lotId, tailAfter(read.entry, tail));
    } else {
      letters.push({ reason: "undecodable", detail: read.why, lotId, outboxId, body });
      newTails.set(lotId, { ...tail, knownGap: true });
    }
  }
  return { batch: { entries, letters, fromId, toId }, newTails };
}

/** The dead letter of a foreign message. */
function foreignLetter({ lotId, streamSeq, storedAt, body }: Delivery): DeadLetter {
  const detail = "a message on the stream that the relay did not write";
  const streamId = `${streamSeq} ${storedAt}`;
  return { reason: "foreign", detail, lotId, outboxId: null, streamId, body };
}

/** A batch of the foreign messages among these. It does not move the watermark. */
export function foreignBatch(deliveries: readonly Delivery[], watermark: string): Batch {
  const letters = deliveries.filter((delivery) => !isRelayed(delivery)).map(foreignLetter);
  return { entries: [], letters, fromId: watermark, toId: watermark };
}

function tailAfter({ lotId, events }: Entry, before: Tail): Tail {
  let tail = before;
  for (const { event } of events) {
    if (isGap(tail, event)) throw new EventGap(lotId, event, tail);
    const { epoch, seq } = event;
    if (tail.knownGap || isBehind(tail, event)) tail = { epoch, seq, knownGap: false };
  }
  return tail;
}
