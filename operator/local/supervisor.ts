/**
 * Supervises the processes of one run: restarts, with exponential backoff, a process that exits, and
 * stops everything in reverse order when the run ends.
 */
import { pause } from "../../services/runtime/lifecycle.ts";
import type { ServerProcess } from "../../servers/server-process.ts";
import { removeProcessRecord, writeProcessRecord } from "./process-record.ts";
import { removeContainer } from "./stores.ts";

interface ProcessDefinition {
  readonly name: string;
  readonly stopSignal: NodeJS.Signals;
  /** Name of the container, if Docker runs the process. */
  readonly container: string | null;
  launch(onSpawn: (pid: number) => void): Promise<ServerProcess>;
}

const BACKOFF_FIRST_MS = 250;
const BACKOFF_MAX_MS = 10_000;
/** A process that ran for this long has recovered: its backoff starts again from the first value. */
const RECOVERED_MS = 30_000;

interface SupervisedProcess {
  readonly definition: ProcessDefinition;
  /** False once a stop was requested: an exit is then no reason to restart. */
  keepRunning: boolean;
  process: ServerProcess | null;
  /** Pid of the process that is being started and does not listen yet. */
  startingPid: number | null;
  /** Resolves when the restart loop has ended. */
  restartLoop: Promise<void>;
}

export class Supervisor {
  readonly #runDir: string;
  readonly #say: (line: string) => void;
  readonly #processes: SupervisedProcess[] = [];
  readonly #stopping = new AbortController();

  constructor(runDir: string, say: (line: string) => void) {
    this.#runDir = runDir;
    this.#say = say;
  }

  /** Aborted when this run must end. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Starts a process and restarts it whenever it exits. @throws Error if the first start fails */
  async start(definition: ProcessDefinition): Promise<void> {
    this.stopping.throwIfAborted();
    const supervised: SupervisedProcess = {
      definition,
      keepRunning: true,
      process: null,
      startingPid: null,
      restartLoop: Promise.resolve(),
    };
    this.#processes.push(supervised);
    await this.#launch(supervised);
    if (!supervised.keepRunning) return;
    supervised.restartLoop = this.#restartOnExit(supervised);
  }

  /** Stops one process and no longer supervises it. */
  async stopOne(name: string): Promise<void> {
    const index = this.#processes.findIndex(({ definition }) => definition.name === name);
    const [supervised] = index === -1 ? [] : this.#processes.splice(index, 1);
    if (supervised) await this.#stop(supervised);
  }

  /** Ends the run: pending waits are aborted and nothing is started any more. */
  interrupt(): void {
    this.#stopping.abort(new Error("interrupted"));
  }

  /** Stops every process, the last one started first. */
  async stop(): Promise<void> {
    this.interrupt();
    for (const supervised of this.#processes.splice(0).reverse()) await this.#stop(supervised);
  }

  async #launch(supervised: SupervisedProcess): Promise<void> {
    const { name, stopSignal, container, launch } = supervised.definition;
    try {
      supervised.process = await launch((pid) => {
        supervised.startingPid = pid;
        writeProcessRecord(this.#runDir, { name, pid, stopSignal, container });
        if (!supervised.keepRunning) signalPid(pid, stopSignal);
      });
    } finally {
      supervised.startingPid = null;
    }
  }

  async #stop(supervised: SupervisedProcess): Promise<void> {
    const { name, container, stopSignal } = supervised.definition;
    supervised.keepRunning = false;
    if (supervised.startingPid !== null) signalPid(supervised.startingPid, stopSignal);
    await supervised.process?.stop();
    await supervised.restartLoop;
    await supervised.process?.stop(); // The loop may have restarted it in the meantime.
    if (container !== null) removeContainer(container);
    removeProcessRecord(this.#runDir, name);
  }

  async #restartOnExit(supervised: SupervisedProcess): Promise<void> {
    const { name } = supervised.definition;
    let backoffMs = BACKOFF_FIRST_MS;
    for (;;) {
      const startedMs = performance.now();
      const { code, signal } = await supervised.process!.ended;
      if (!supervised.keepRunning || this.stopping.aborted) return;

      if (performance.now() - startedMs > RECOVERED_MS) backoffMs = BACKOFF_FIRST_MS;
      const reason = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
      this.#say(`${name} ${reason}; restarting`);
      for (let isRestarted = false; !isRestarted;) {
        await pause(backoffMs, this.stopping);
        if (!supervised.keepRunning || this.stopping.aborted) return;
        backoffMs = Math.min(2 * backoffMs, BACKOFF_MAX_MS);
        try {
          await this.#launch(supervised);
          isRestarted = true;
          this.#say(`${name} restarted`);
        } catch (error) {
          if (!supervised.keepRunning) return;
          this.#say(`${(error as Error).message}; next attempt in ${backoffMs} ms`);
        }
      }
    }
  }
}

function signalPid(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // The process has exited.
  }
}
