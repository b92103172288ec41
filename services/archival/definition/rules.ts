import { isUnavailable } from "../../access/error-class.ts";
import { pause } from "../../runtime/lifecycle.ts";
import type { Logger } from "../../runtime/log.ts";
import { type AuctionDefinition, isOlder } from "../../store/define-lots.ts";
import type { CheckDependencies } from "../recovery/check-store.ts";
import { defineAuction, type DefineOutcome } from "./define.ts";
import { parseRules, readRulesText, type RulesFile } from "./rules-file.ts";

/**
 * The only owner of the auction's latest definition, which comes from the rules file, at the start and whenever it
 * changes, and from the API. Definitions are applied one at a time, and an older one never replaces a newer
 * one: neither here, nor in the store, where another process or an earlier run may have written a newer one.
 */
export class Rules {
  /** Why the latest rules were refused, or null; the store keeps the rules that it has. */
  refused: string | null = null;
  /** The newest definition that was given. */
  #latest: AuctionDefinition;
  #applying: Promise<unknown> = Promise.resolve();
  /** The text of the file as it was last read. */
  #fileText: string;
  readonly #file: string;
  readonly #dependencies: CheckDependencies;
  readonly #log: Logger;

  /** @param first the file as it was read at the start */
  constructor(file: string, first: RulesFile, dependencies: CheckDependencies, log: Logger) {
    this.#file = file;
    this.#fileText = first.text;
    this.#latest = first.definition;
    this.#dependencies = dependencies;
    this.#log = log;
  }

  /**
   * Makes a definition the latest, unless a newer one was given, and applies it.
   * @throws when a store does not answer: nothing was decided, and the call may be repeated
   */
  apply(definition: AuctionDefinition): Promise<DefineOutcome> {
    if (!isOlder(definition, this.#latest)) this.#latest = definition;
    return this.#applyNext(definition);
  }

  /** Applies the latest definition, which may have changed when a caller retries. @throws as `apply` */
  applyLatest(): Promise<DefineOutcome> {
    return this.#applyNext(null);
  }

  /** @param definition null: the one that is the latest when it is applied */
  #applyNext(definition: AuctionDefinition | null): Promise<DefineOutcome> {
    const applied = this.#applying.then(() => this.#define(definition ?? this.#latest));
    this.#applying = applied.catch(() => {});
    return applied;
  }

  async #define(definition: AuctionDefinition): Promise<DefineOutcome> {
    const { generation } = definition;
    const applied: DefineOutcome = isOlder(definition, this.#latest)
      ? { outcome: "outdated" }
      : await defineAuction(this.#dependencies, definition);
    if (applied.outcome === "outdated") {
      this.#log.warn({ generation }, "older rules ignored: newer ones were given before");
      return applied;
    }
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
  async watch(signal: AbortSignal, everyMs: number): Promise<void> {
    while (!signal.aborted) {
      await pause(everyMs, signal);
      if (signal.aborted) return;
      try {
        await this.#applyChangedFile();
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        this.#log.warn({ err: error }, "applying changed rules failed: retrying");
      }
    }
  }

  async #applyChangedFile(): Promise<void> {
    let text: string;
    try {
      text = readRulesText(this.#file);
    } catch (error) {
      this.#log.warn({ err: error }, "rules file unreadable");
      return;
    }
    if (text === this.#fileText) return;
    let definition: AuctionDefinition;
    try {
      definition = parseRules(text, this.#file, this.#dependencies.auctionUid);
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
