/** The stores that refuse this process, each with its reason: a person must remove the cause before it can continue. */
import type { Gauge } from "prom-client";
import { classOf, refusalOf } from "../access/error-class.ts";
import type { Logger } from "../runtime/log.ts";
import { DEPENDENCIES, type Dependency } from "./metrics.ts";

const URL_OF = {
  redis: "REDIS_URL_FILE",
  nats: "NATS_URL_FILE",
  postgres: "POSTGRES_URL_FILE",
} as const satisfies Record<Dependency, string>;

/** What to do about a refusal, chosen by the store's error. Other refusals name their remedy themselves. */
function adviceOn(store: Dependency, reason: string): string {
  const variable = URL_OF[store];
  if (reason.includes(variable)) return "";
  if (/SSL|TLS|CERT|EPROTO|certificate|self.signed/i.test(reason)) {
    return `: the URL in ${variable} must ask for TLS if and only if the server does, and its certificate be trusted`;
  }
  if (/WRONGPASS|NOAUTH|invalid password|^28|SASL|authoriz|authenticat/i.test(reason)) {
    return `: put the right user and password into the URL in ${variable}`;
  }
  if (store === "postgres" && /^42501/.test(reason)) {
    return `: grant the user in ${variable} CREATE on schema public, and make it the owner of the tables`;
  }
  if (
    /NOPERM|PermissionViolation|permissions? violation|^3D000|no such (database|user)/i.test(reason)
  ) {
    return `: grant the rights to the user in ${variable}, or name another user or database there`;
  }
  return "";
}

interface Refusal {
  readonly store: Dependency;
  readonly reason: string;
}

export class Refusals {
  /** By the work that was refused: each kind of work clears its own refusal once it succeeds. */
  #byWork = new Map<string, Refusal>();
  readonly #gauge: Gauge<"dependency">;
  readonly #log: Logger;

  constructor(gauge: Gauge<"dependency">, log: Logger) {
    this.#gauge = gauge;
    this.#log = log;
  }

  /** The reason of each store that refuses, in the store's own words. */
  get reasons(): Partial<Record<Dependency, string>> {
    return Object.fromEntries([...this.#byWork.values()].map((each) => [each.store, each.reason]));
  }

  /** Of all stores, in one line: "postgres refuses: 42501: permission denied for table events". Null: none refuses. */
  get text(): string | null {
    const lines = Object.entries(this.reasons).map(([store, why]) => `${store} refuses: ${why}`);
    return lines.length === 0 ? null : lines.join("; ");
  }

  /**
   * Records why work failed.
   * @param store the store to name if the error does not identify one
   * @throws the error itself if it is a defect: it stops the process
   */
  failed(work: string, store: Dependency, error: unknown): void {
    if (classOf(error) === "defect") throw error;
    const refusal = refusalOf(error);
    if (refusal === null) return;
    const refusing = refusal.store ?? store;
    const reason = `${refusal.reason}${adviceOn(refusing, refusal.reason)}`;
    const before = this.#byWork.get(work);
    this.#byWork.set(work, { store: refusing, reason });
    this.#show();
    if (before?.reason === reason) return;
    this.#log.error({ store: refusing, reason, work, err: error }, "store refuses");
  }

  served(work: string): void {
    const before = this.#byWork.get(work);
    if (before === undefined) return;
    this.#byWork.delete(work);
    this.#show();
    this.#log.info({ store: before.store, work }, "store serves again");
  }

  #show(): void {
    for (const dependency of DEPENDENCIES) {
      this.#gauge.set({ dependency }, dependency in this.reasons ? 1 : 0);
    }
  }
}
