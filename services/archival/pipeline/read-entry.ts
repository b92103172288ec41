import { decodeEvents } from "../../lot/events.ts";
import type { ArchivedEvent, Entry } from "../postgres/batch.ts";

/** A decoded outbox entry, or why its text cannot be decoded. */
type ReadEntry =
  | { readonly readable: true; readonly entry: Entry }
  | { readonly readable: false; readonly why: string };

export function readEntry(lotId: string, outboxId: string, bytes: Uint8Array): ReadEntry {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const bodies = text.split("\n");
    const events = decodeEvents(text).map((event, index): ArchivedEvent => {
      return { event, body: bodies[index]!, outboxId };
    });
    const foreign = events.find(({ event }) => event.lotId !== lotId);
    if (foreign) {
      return { readable: false, why: `an event of ${foreign.event.lotId} among those of ${lotId}` };
    }
    return { readable: true, entry: { outboxId, lotId, events, bytes } };
  } catch (error) {
    return { readable: false, why: (error as Error).message };
  }
}
