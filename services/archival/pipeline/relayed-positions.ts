import { isBehind, type Position } from "../../lot/position.ts";

/** Finds epoch and seq of the last event in the text of an outbox entry. */
const POSITION = /"epoch":(\d{1,16}),"seq":(\d{1,16})/;

/**
 * The latest position of each lot that this process has read from the outbox to relay it; it may not be published
 * yet. While no other process relays, JetStream and Postgres have nothing after these positions: a Redis that comes
 * back with all of them is confirmed without asking JetStream and Postgres.
 */
export class RelayedPositions {
  #positions: Map<string, Position> | null = null;

  /** Null when another process may have relayed more. */
  get positions(): ReadonlyMap<string, Position> | null {
    return this.#positions;
  }

  /** @param positions no process relayed anything after these */
  begin(positions: Iterable<readonly [string, Position]>): void {
    this.#positions = new Map(positions);
  }

  forget(): void {
    this.#positions = null;
  }

  /** Records an entry that was read. An entry without a position is not an event, and is ignored. */
  record(lotId: string, events: string): void {
    if (this.#positions === null) return;
    const match = POSITION.exec(events.slice(events.lastIndexOf("\n") + 1));
    if (match === null) return;
    const position = { epoch: Number(match[1]), seq: Number(match[2]) };
    const latest = this.#positions.get(lotId);
    if (latest === undefined || isBehind(latest, position)) this.#positions.set(lotId, position);
  }
}
