/** The observer: reads the stores once a second, and hands the observation to gauges and health summary. */
import { ifUnavailable } from "../../access/error-class.ts";
import { streamState, type StreamState } from "../../bus/stream.ts";
import { pause } from "../../runtime/lifecycle.ts";
import {
  type ArchiveObservation,
  type Observation,
  observeArchive,
  observeStore,
  type ObserverDependencies,
} from "./observation.ts";

const EVERY_MS = 1_000;
/** How long an observation waits for Postgres and JetStream, so that the figures of Redis stay fresh. */
const WAIT_MS = 400;

/** Observes until the signal aborts. */
export async function runObserver(
  dependencies: ObserverDependencies,
  onObservation: (observation: Observation) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { auctionUid, currentBus } = dependencies;
  const archive = new Latest<ArchiveObservation | null>(null, () => observeArchive(dependencies));
  const stream = new Latest<StreamState | null | undefined>(undefined, async () => {
    const bus = currentBus();
    return bus === null ? undefined : streamState(bus, auctionUid);
  });
  while (!signal.aborted) {
    const startedMs = performance.now();
    const [store] = await Promise.all([
      observeStore(dependencies).catch(ifUnavailable(null)),
      archive.refresh(WAIT_MS),
      stream.refresh(WAIT_MS),
    ]);
    await onObservation({ store, archive: archive.value, stream: stream.value });
    await pause(Math.max(0, EVERY_MS - (performance.now() - startedMs)), signal);
  }
}

/** The latest value of a read. A slow read goes on in the background; a failed one keeps the value. */
class Latest<T> {
  value: T;
  #reading: Promise<void> | null = null;
  readonly #read: () => Promise<T>;

  constructor(initial: T, read: () => Promise<T>) {
    this.value = initial;
    this.#read = read;
  }

  /** Reads anew. @param waitMs how long to wait for the value at most */
  async refresh(waitMs: number): Promise<void> {
    this.#reading ??= this.#read()
      .then((value) => void (this.value = value), ifUnavailable(undefined))
      .finally(() => (this.#reading = null));
    const timer = new AbortController();
    await Promise.race([this.#reading, pause(waitMs, timer.signal)]);
    timer.abort();
  }
}
