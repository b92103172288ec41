/** Closed lists of reasons. Each reason is the value of a metric's label, so every series exists from the start. */

/** Why something is a dead letter. */
export const DEAD_LETTER_REASONS = [
  "undecodable", // it is not a list of events of one lot
  "refused", // Postgres cannot hold its values
  "conflict", // another event is archived at its position
  "lost", // the outbox dropped it before it was archived
  "foreign", // a message on the stream that the relay did not write: it was never in the outbox
] as const;

export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number];

/** Why the pipeline was stopped, to start again at the watermark. */
export const RESTART_REASONS = [
  "publish", // JetStream refused or lost an entry; another relay may be at work
  "bus", // the connection to NATS broke, or the stream or consumer is gone
  "store", // Redis did not answer, or must be checked
  "check", // Redis could not be compared with what was relayed
  "archive", // Postgres did not answer
  "gap", // entries or events are missing
  "stalled", // entries wait, and none was archived for too long
  "superseded", // another archive moved the watermark
  "lease", // another process holds the lease
] as const;

export type RestartReason = (typeof RESTART_REASONS)[number];
