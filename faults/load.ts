/** The load, as processes of this one. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { until } from "../services/testing/until.ts";
import {
  type FromLoad,
  type LoadCounts,
  type LoadPlan,
  NO_COUNTS,
  type ToLoad,
} from "./load-plan.ts";

export class Load {
  readonly #child: ChildProcess;
  readonly #name: string;
  counts: LoadCounts = NO_COUNTS;
  #finished = false;

  constructor(name: "bidders" | "watchers", plan: LoadPlan) {
    this.#name = name;
    this.#child = fork(fileURLToPath(new URL(`./${name}.ts`, import.meta.url)), {
      execArgv: [],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.on("message", ({ counts, finished }: FromLoad) => {
      this.counts = counts;
      this.#finished = finished;
    });
    this.#child.send({ plan } satisfies ToLoad);
  }

  /** @throws Error when it does not come to its end */
  async finish(timeoutMs: number): Promise<void> {
    this.#child.send({ finish: true } satisfies ToLoad);
    const ended = () => this.#finished || this.#child.exitCode !== null;
    await until(`the ${this.#name} are done`, ended, timeoutMs);
    if (!this.#finished) throw new Error(`the ${this.#name} ended by themselves`);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
