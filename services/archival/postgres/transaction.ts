/**
 * How every transaction of the archive begins. Limits and settings are those of the transaction: behind PgBouncer
 * a setting of the session reaches other clients, and PgBouncer refuses limits among the startup parameters.
 */

const LOCK_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 10_000;

type Mode =
  "read committed, read write" | "read committed, read only" | "repeatable read, read only";

/** One message, so that it costs one round trip. */
export function begin(mode: Mode, statementTimeoutMs: number): string {
  return [
    `begin isolation level ${mode}`,
    `set local statement_timeout = ${statementTimeoutMs}`,
    `set local lock_timeout = ${LOCK_TIMEOUT_MS}`,
    `set local idle_in_transaction_session_timeout = ${IDLE_TIMEOUT_MS}`,
    // Without it a null in an array is the text "NULL".
    "set local array_nulls = on",
    // The outbox is trimmed up to the committed watermark, so commits must be on disk. Stricter settings are kept.
    `select pg_catalog.set_config('synchronous_commit', 'local', true)
     where pg_catalog.current_setting('synchronous_commit') = 'off'`,
  ].join("; ");
}
