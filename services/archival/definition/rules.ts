/** The rules in force, and those that wait to be: one after the other, wherever they come from. */
import { readFileSync } from "node:fs";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";
import { type Settled, settleDefinition } from "./define.ts";
import type { CheckOf } from "../recovery/check-store.ts";
import { parseRules } from "./rules-file.ts";

export class Rules {
  /** Why the last ones were not taken; the store goes on with those that it has. */
  refused: string | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** Of the file, as it was last settled. */
  #fileText: string;
  readonly #file: string;
  readonly #check: () => CheckOf;
  readonly #log: Logger;

  constructor(file: string, check: () => CheckOf, log: Logger) {
    this.#file = file;
    this.#fileText = readFileSync(file, "utf8");
    this.#check = check;
    this.#log = log;
  }

  /** @throws when a store cannot be asked: nothing was decided; ask again */
  settle(definition: AuctionDefinition): Promise<Settled> {
    const settled = this.#last.then(() => this.#settle(definition));
    this.#last = settled.catch(() => {});
    return settled;
  }

  async #settle(definition: AuctionDefinition): Promise<Settled> {
    const settled = await settleDefinition(this.#check(), definition);
    const why = settled.outcome === "refused" ? settled.why : null;
    if (why !== null && why !== this.refused) {
      this.#log.error({ why }, "the rules were refused; the store goes on with those that it has");
    }
    this.refused = why;
    return settled;
  }

  /**
   * Takes what the file says whenever it says something else, until the signal aborts. A mounted file changes
   * by a swapped link, of which no watcher tells reliably: it is looked at.
   */
  async watch(auctionUid: string, signal: AbortSignal, everyMs: number): Promise<void> {
    while (!signal.aborted) {
      await pause(everyMs, signal);
      if (signal.aborted) return;
      try {
        await this.#look(auctionUid);
      } catch (error) {
        this.#log.warn({ err: error }, "changed rules wait for a store");
      }
    }
  }

  async #look(auctionUid: string): Promise<void> {
    let text: string;
    try {
      text = readFileSync(this.#file, "utf8");
    } catch (error) {
      this.#log.warn({ err: error }, "the rules file cannot be read");
      return;
    }
    if (text === this.#fileText) return;
    let definition: AuctionDefinition;
    try {
      definition = parseRules(text, this.#file, auctionUid);
    } catch (error) {
      const why = (error as Error).message;
      this.#log.error({ why }, "the rules file changed, and is wrong");
      this.refused = why;
      this.#fileText = text;
      return;
    }
    const { outcome } = await this.settle(definition);
    this.#log.info({ outcome }, "the rules file changed");
    this.#fileText = text;
  }
}
