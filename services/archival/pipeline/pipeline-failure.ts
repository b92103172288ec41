/** Why a pair of relay and archive was torn down, to begin again at Postgres's watermark. */
export const RESTART_REASONS = [
  "publish", // JetStream refused or lost an entry; another relay may be at work
  "bus", // NATS was lost, or its stream or consumer is gone
  "store", // Redis did not answer, or must be checked
  "check", // Redis could not be compared with what was relayed
  "archive", // Postgres did not answer
  "gap", // an entry or an event is missing between two
  "stalled", // there was something to do and nothing was done
  "superseded", // Postgres's watermark was moved by another
  "lease", // it is another's turn
] as const;

export type RestartReason = (typeof RESTART_REASONS)[number];

export class PairFailure extends Error {
  override readonly name = "PairFailure";
  readonly reason: RestartReason;

  constructor(reason: RestartReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/** Names whoever failed. For `await failing("store", work())`. */
export async function failing<T>(reason: RestartReason, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PairFailure) throw error;
    throw new PairFailure(reason, (error as Error).message, error);
  }
}
