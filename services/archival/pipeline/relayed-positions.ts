import { isBehind, type Position } from "../../lot/position.ts";

/** Where the epoch and the seq of an outbox entry's last event stand in its text. */
const POSITION = /"epoch":(\d{1,16}),"seq":(\d{1,16})/;

/**
 * The latest event of each lot that this process read from the outbox to relay it. As long as nobody else
 * relays, JetStream and Postgres have nothing beyond it: a Redis that comes back with all of this can be
 * confirmed without asking them.
 */
export class Relayed {
  #lots: Map<string, Position> | null = null;

  /** Null where somebody else may have relayed more. */
  get positions(): ReadonlyMap<string, Position> | null {
    return this.#lots;
  }

  /** Everything that anybody relayed so far is at or below these. */
  begin(positions: Iterable<readonly [string, Position]>): void {
    this.#lots = new Map(positions);
  }

  forget(): void {
    this.#lots = null;
  }

  /** An entry was read. One that cannot be read tells nothing: it is no event. */
  saw(lotId: string, events: string): void {
    if (this.#lots === null) return;
    const match = POSITION.exec(events.slice(events.lastIndexOf("\n") + 1));
    if (match === null) return;
    const seen = { epoch: Number(match[1]), seq: Number(match[2]) };
    const known = this.#lots.get(lotId);
    if (known === undefined || isBehind(known, seen)) this.#lots.set(lotId, seen);
  }
}
