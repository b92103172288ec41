/** Pings every viewer, and finds those who are gone: one timer for all, a slice of them each second. */

/** How often each viewer is pinged. One that was not heard of from one ping to the next is dead. */
export const PING_EVERY_MS = 25_000;

const SLICES = 25;

/** What is beaten: it says whether anything was heard since, and is pinged or given up. */
export interface Pinged {
  heard: boolean;
}

export class Heartbeat<T extends Pinged> {
  #slices = Array.from({ length: SLICES }, () => new Set<T>());
  #joining = 0;
  #turn = 0;
  readonly #ping: (member: T) => void;
  readonly #giveUp: (member: T) => void;

  constructor(ping: (member: T) => void, giveUp: (member: T) => void) {
    this.#ping = ping;
    this.#giveUp = giveUp;
  }

  /** @returns how it leaves */
  add(member: T): () => void {
    const slice = this.#slices[this.#joining++ % SLICES]!;
    slice.add(member);
    return () => slice.delete(member);
  }

  /** The next slice's turn. */
  beat(): void {
    for (const member of this.#slices[this.#turn++ % SLICES]!) {
      if (!member.heard) this.#giveUp(member);
      else {
        member.heard = false;
        this.#ping(member);
      }
    }
  }

  /** Beats until it is told to stop. */
  start(): () => void {
    const timer = setInterval(() => this.beat(), PING_EVERY_MS / SLICES);
    return () => clearInterval(timer);
  }
}
