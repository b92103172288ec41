/**
 * Keeps the processes of one run alive: what ends by itself is started again, ever more patiently,
 * and everything that was started ends with the run, in reverse order.
 */
import { pause } from "../../services/runtime/lifecycle.ts";
import { dropRecord, keepRecord } from "./process-record.ts";
import type { ServerProcess } from "../../servers/server-process.ts";
import { removeContainer } from "./stores.ts";

export interface Part {
  readonly name: string;
  readonly stopSignal: NodeJS.Signals;
  /** Where Docker runs it. */
  readonly container: string | null;
  launch(onSpawn: (pid: number) => void): Promise<ServerProcess>;
}

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 10_000;
/** Who ran for so long has recovered: the next restart is prompt again. */
const RECOVERED_MS = 30_000;

interface Running {
  readonly part: Part;
  /** False once its end is wanted: nobody starts it again. */
  wanted: boolean;
  process: ServerProcess | null;
  /** Of the process that is being started, before it answers. */
  pid: number | null;
  /** The loop that starts it again. */
  watch: Promise<void>;
}

export class Supervisor {
  readonly #runDir: string;
  readonly #say: (line: string) => void;
  readonly #running: Running[] = [];
  readonly #stopping = new AbortController();

  constructor(runDir: string, say: (line: string) => void) {
    this.#runDir = runDir;
    this.#say = say;
  }

  /** Aborted once this run is to end. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Starts a part and watches over it from then on. @throws Error when it does not start */
  async start(part: Part): Promise<void> {
    this.stopping.throwIfAborted();
    const running: Running = {
      part,
      wanted: true,
      process: null,
      pid: null,
      watch: Promise.resolve(),
    };
    this.#running.push(running);
    await this.#launch(running);
    if (!running.wanted) return;
    running.watch = this.#watch(running);
  }

  /** Ends one part for good. */
  async stopPart(name: string): Promise<void> {
    const at = this.#running.findIndex(({ part }) => part.name === name);
    const [running] = at === -1 ? [] : this.#running.splice(at, 1);
    if (running) await this.#end(running);
  }

  /** Tells the run to end: no wait goes on, nothing is started any more. */
  interrupt(): void {
    this.#stopping.abort(new Error("interrupted"));
  }

  /** Stops everything, last started first. */
  async stop(): Promise<void> {
    this.interrupt();
    for (const running of this.#running.splice(0).reverse()) await this.#end(running);
  }

  async #launch(running: Running): Promise<void> {
    const { name, stopSignal, container, launch } = running.part;
    try {
      running.process = await launch((pid) => {
        running.pid = pid;
        keepRecord(this.#runDir, { name, pid, stopSignal, container });
        if (!running.wanted) signalPid(pid, stopSignal);
      });
    } finally {
      running.pid = null;
    }
  }

  async #end(running: Running): Promise<void> {
    const { name, container, stopSignal } = running.part;
    running.wanted = false;
    if (running.pid !== null) signalPid(running.pid, stopSignal);
    await running.process?.stop();
    await running.watch;
    await running.process?.stop(); // A restart may have been under way.
    if (container !== null) removeContainer(container);
    dropRecord(this.#runDir, name);
  }

  async #watch(running: Running): Promise<void> {
    const { name } = running.part;
    let backoffMs = BACKOFF_FIRST_MS;
    for (;;) {
      const startedMs = performance.now();
      const { code, signal } = await running.process!.ended;
      if (!running.wanted || this.stopping.aborted) return;

      if (performance.now() - startedMs > RECOVERED_MS) backoffMs = BACKOFF_FIRST_MS;
      const how = signal === null ? `with code ${code}` : `by ${signal}`;
      this.#say(`${name} ended ${how}; starting it again`);
      for (let back = false; !back;) {
        await pause(backoffMs, this.stopping);
        if (!running.wanted || this.stopping.aborted) return;
        backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS);
        try {
          await this.#launch(running);
          back = true;
          this.#say(`${name} runs again`);
        } catch (error) {
          if (!running.wanted) return;
          this.#say(`${(error as Error).message}; trying again in ${backoffMs} ms`);
        }
      }
    }
  }
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}
