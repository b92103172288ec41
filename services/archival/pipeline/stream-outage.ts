import type { Bus } from "../../bus/connect.ts";
import { abandonStream, jetStreamAnswers } from "../../bus/stream.ts";

/**
 * Notices a stream that JetStream does not serve although it answers, such as that of a server that is gone for good,
 * and gives it up. The next run creates the stream, and relays from the outbox what is not archived.
 */
export class StreamOutage {
  #sinceMs: number | null = null;
  readonly #auctionUid: string;
  readonly #giveUpMs: number;

  constructor(auctionUid: string, giveUpMs: number) {
    this.#auctionUid = auctionUid;
    this.#giveUpMs = giveUpMs;
  }

  /** The stream was read and written. */
  served(): void {
    this.#sinceMs = null;
  }

  /** The stream could not be read or written. @returns whether it was given up */
  async failed(bus: Bus): Promise<boolean> {
    if (!(await jetStreamAnswers(bus))) {
      this.#sinceMs = null;
      return false;
    }
    this.#sinceMs ??= performance.now();
    if (performance.now() - this.#sinceMs < this.#giveUpMs) return false;
    this.#sinceMs = null;
    await abandonStream(bus, this.#auctionUid);
    return true;
  }
}
