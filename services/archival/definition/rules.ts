import { readFileSync } from "node:fs";
import { isUnavailable } from "../../access/error-class.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";
import type { CheckDependencies } from "../recovery/check-store.ts";
import { defineAuction, type DefineOutcome } from "./define.ts";
import { parseRules } from "./rules-file.ts";

/** Applies the rules of an auction, from the rules file and from the API, one after the other. */
export class Rules {
  /** Why the latest rules were refused, or null; the store keeps the rules that it has. */
  refused: string | null = null;
  #latest: Promise<unknown> = Promise.resolve();
  /** The file's text that was applied last. */
  #fileText: string;
  readonly #file: string;
  readonly #dependencies: CheckDependencies;
  readonly #log: Logger;

  constructor(file: string, dependencies: CheckDependencies, log: Logger) {
    this.#file = file;
    this.#fileText = readFileSync(file, "utf8");
    this.#dependencies = dependencies;
    this.#log = log;
  }

  /** @throws when a store does not answer: nothing was decided, and the call may be repeated */
  apply(definition: AuctionDefinition): Promise<DefineOutcome> {
    const applied = this.#latest.then(() => this.#applyNext(definition));
    this.#latest = applied.catch(() => {});
    return applied;
  }

  async #applyNext(definition: AuctionDefinition): Promise<DefineOutcome> {
    const applied = await defineAuction(this.#dependencies, definition);
    const why = applied.outcome === "refused" ? applied.why : null;
    if (why !== null && why !== this.refused) {
      this.#log.error({ why }, "rules refused: the store keeps the earlier ones");
    }
    this.refused = why;
    return applied;
  }

  /**
   * Applies the file whenever its text changes, until the signal aborts. It polls the file: a mounted file is
   * changed by swapping a link, which file watchers do not report reliably.
   */
  async watch(auctionUid: string, signal: AbortSignal, everyMs: number): Promise<void> {
    while (!signal.aborted) {
      await pause(everyMs, signal);
      if (signal.aborted) return;
      try {
        await this.#applyChangedFile(auctionUid);
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#log.warn({ err: error }, "applying changed rules failed: retrying");
      }
    }
  }

  async #applyChangedFile(auctionUid: string): Promise<void> {
    let text: string;
    try {
      text = readFileSync(this.#file, "utf8");
    } catch (error) {
      this.#log.warn({ err: error }, "rules file unreadable");
      return;
    }
    if (text === this.#fileText) return;
    let definition: AuctionDefinition;
    try {
      definition = parseRules(text, this.#file, auctionUid);
    } catch (error) {
      const why = (error as Error).message;
      this.#log.error({ why }, "changed rules file invalid");
      this.refused = why;
      this.#fileText = text;
      return;
    }
    const { outcome } = await this.apply(definition);
    this.#log.info({ outcome }, "changed rules file applied");
    this.#fileText = text;
  }
}
