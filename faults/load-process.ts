/** Starts bidders or viewers as a child process. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { until } from "../services/testing/until.ts";
import {
  type LoadReport,
  type LoadCounts,
  type LoadPlan,
  NO_COUNTS,
  type LoadCommand,
} from "./load-plan.ts";

export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #name: string;
  counts: LoadCounts = NO_COUNTS;
  #finished = false;

  constructor(name: "bidders" | "viewers", plan: LoadPlan) {
    this.#name = name;
    this.#child = fork(fileURLToPath(new URL(`./${name}.ts`, import.meta.url)), {
      execArgv: [],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.on("message", ({ counts, finished }: LoadReport) => {
      this.counts = counts;
      this.#finished = finished;
    });
    this.#child.send({ plan } satisfies LoadCommand);
  }

  /** @throws Error when it does not finish in time */
  async finish(timeoutMs: number): Promise<void> {
    this.#child.send({ finish: true } satisfies LoadCommand);
    const ended = () => this.#finished || this.#child.exitCode !== null;
    await until(`the ${this.#name} have finished`, ended, timeoutMs);
    if (!this.#finished) throw new Error(`the ${this.#name} process exited early`);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
