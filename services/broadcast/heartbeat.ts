/** Pings every viewer and finds dead ones: one timer for all, one slice of them each second. */

/** Interval between two pings of a viewer. A viewer is dead that sent nothing between two pings. */
export const PING_EVERY_MS = 25_000;

const SLICES = 25;

/** A member of the heartbeat. */
interface Pinged {
  /** Whether anything arrived since the last ping. */
  hasSentSincePing: boolean;
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

  /** @returns what removes it again */
  add(member: T): () => void {
    const slice = this.#slices[this.#joining++ % SLICES]!;
    slice.add(member);
    return () => slice.delete(member);
  }

  /** Pings the next slice. */
  beat(): void {
    for (const member of this.#slices[this.#turn++ % SLICES]!) {
      if (!member.hasSentSincePing) this.#giveUp(member);
      else {
        member.hasSentSincePing = false;
        this.#ping(member);
      }
    }
  }

  /** @returns what stops it */
  start(): () => void {
    const timer = setInterval(() => this.beat(), PING_EVERY_MS / SLICES);
    return () => clearInterval(timer);
  }
}
