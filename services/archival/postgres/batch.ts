/** What one transaction of the archive takes. */
import type { LotEvent } from "../../lot/events.ts";
import type { DeadLetterReason } from "../reasons.ts";

export interface Batch {
  readonly entries: readonly Entry[];
  readonly letters: readonly DeadLetter[];
  /** The watermark before the batch, and after it. */
  readonly fromId: string;
  readonly toId: string;
}

/** A decoded outbox entry: the events of one script call, all of one lot. */
export interface Entry {
  readonly outboxId: string;
  readonly lotId: string;
  readonly events: readonly ArchivedEvent[];
  readonly bytes: Uint8Array;
}

export interface ArchivedEvent {
  readonly event: LotEvent;
  /** The exact text of the event. */
  readonly body: string;
  /** The outbox entry that the event came with. */
  readonly outboxId: string;
}

/** An entry that could not be archived. It blocks no other entry, is kept, and can be replayed or discarded. */
export interface DeadLetter {
  readonly reason: DeadLetterReason;
  readonly detail: string;
  readonly lotId: string | null;
  /** Null for a message that did not come from the outbox. */
  readonly outboxId: string | null;
  /** For a foreign message its place on the stream: it is one dead letter, however often it is read. */
  readonly streamId?: string;
  readonly body: Uint8Array;
}
