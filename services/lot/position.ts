/** Where an event stands in its lot. Every tier compares positions with these functions. Pure. */

export interface Position {
  /** Raised when the store lost its newest events; the positions of a lot only rise. */
  readonly epoch: number;
  /** 1, 2, 3 … within an epoch. */
  readonly seq: number;
}

/** Before the first event of a lot. */
export const START: Position = { epoch: 0, seq: 0 };

/** Negative when `a` is before `b`, 0 when they are equal, positive when `a` is after `b`: for `sort`. */
export function compare(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}

/** Whether `a` is before `b`. Equal positions are not behind each other. */
export function isBehind(a: Position, b: Position): boolean {
  return compare(a, b) < 0;
}

/**
 * Whether `next` comes directly after `last`, so that no event can be missing between them. False across
 * epochs: a new epoch begins above every position that was known when it was raised.
 */
export function follows(next: Position, last: Position): boolean {
  return next.seq === last.seq + 1 && (next.epoch === last.epoch || last.epoch === START.epoch);
}
