/** Injects the faults of a schedule, and counts which of them took effect. */
import { setTimeout as sleep } from "node:timers/promises";
import { KINDS, Unsupported } from "./kinds.ts";
import type { Injection, KindName, Lane } from "./schedule.ts";
import type { System } from "./system.ts";

const CALM_SHARE = 0.25;
const CALM_MS = 2_000;

export class Injector {
  readonly injectionsByKind = new Map<KindName, number>();
  /** Faults whose effect could not be observed: each makes the run fail. */
  readonly withoutEffect: string[] = [];
  /** Faults that this machine cannot inject. */
  readonly skipped = new Set<string>();
  injections = 0;
  readonly #system: System;
  readonly #log: (line: string) => void;
  readonly #startedMs = performance.now();
  #activeFaults = 0;
  #calmSinceMs = performance.now();
  #calmMs = 0;

  constructor(system: System, log: (line: string) => void) {
    this.#system = system;
    this.#log = log;
  }

  /** Share of the time in which no fault was active. */
  get calmShare(): number {
    const nowMs = performance.now();
    const currentMs = this.#activeFaults === 0 ? nowMs - this.#calmSinceMs : 0;
    return (this.#calmMs + currentMs) / (nowMs - this.#startedMs);
  }

  /** Runs both lanes of the schedule side by side. Returns after `durationMs`, with every fault undone. */
  async run(schedule: readonly Injection[], durationMs: number): Promise<void> {
    const startMs = performance.now();
    await Promise.all([
      this.#runLane("bids", schedule, startMs, durationMs),
      this.#runLane("archive", schedule, startMs, durationMs),
    ]);
    const leftMs = startMs + durationMs - performance.now();
    if (leftMs > 0) await sleep(leftMs);
  }

  async #runLane(
    lane: Lane,
    schedule: readonly Injection[],
    startMs: number,
    durationMs: number,
  ): Promise<void> {
    for (const injection of schedule.filter((one) => one.lane === lane)) {
      const waitMs = startMs + injection.atMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      await this.#restoreCalm();
      if (performance.now() - startMs > durationMs) {
        this.#log(`  lane ${lane}: time is up, #${injection.n} and later injections are dropped`);
        return;
      }
      await this.#inject(injection);
    }
  }

  /** Faults that take longer than planned reduce the calm time: waits until its share is restored. */
  async #restoreCalm(): Promise<void> {
    const isRestored = () =>
      this.calmShare >= CALM_SHARE ||
      (this.#activeFaults === 0 && performance.now() - this.#calmSinceMs > CALM_MS);
    if (performance.now() - this.#startedMs < CALM_MS * 3) return;
    while (!isRestored()) await sleep(20);
  }

  async #inject(injection: Injection): Promise<void> {
    const { n, kind, target, lastsMs } = injection;
    const title = `  #${n} ${kind} ${target}`;
    const beganMs = performance.now();
    if (this.#activeFaults++ === 0) this.#calmMs += performance.now() - this.#calmSinceMs;
    try {
      const fault = await KINDS[kind](this.#system, injection);
      await sleep(lastsMs);
      const undone = await fault.undo();
      this.injections++;
      this.injectionsByKind.set(kind, (this.injectionsByKind.get(kind) ?? 0) + 1);
      const tookMs = Math.round(performance.now() - beganMs);
      this.#log(`${title}: ${fault.seen}; ${tookMs} ms (${lastsMs} planned); ${undone}`);
    } catch (error) {
      if (error instanceof Unsupported) {
        if (!this.skipped.has(kind)) this.#log(`${title}: SKIPPED, ${error.message}`);
        this.skipped.add(`${kind} ${target}: ${error.message}`);
      } else {
        this.withoutEffect.push(`#${n} ${kind} ${target}: ${String(error)}`);
        this.#log(`${title}: NO EFFECT: ${String(error)}`);
      }
    } finally {
      if (--this.#activeFaults === 0) this.#calmSinceMs = performance.now();
    }
  }
}
