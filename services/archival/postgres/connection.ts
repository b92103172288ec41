/** The archive's connections. Every wait has a limit: pg's own defaults wait for ever. */
import pg from "pg";

export type Archive = pg.Pool;
export type Session = pg.PoolClient;

const MAX_CONNECTIONS = 5;
const CONNECT_TIMEOUT_MS = 3_000;
/** Above the server's own limit, which leaves the connection usable. */
const QUERY_TIMEOUT_MS = 12_000;
export const STATEMENT_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/**
 * @param readUrl asked again at each connection, so that a password may change
 * @param onError a connection that broke while nobody used it; it is replaced
 */
export function connectArchive(readUrl: () => string, onError: (error: Error) => void): Archive {
  class FreshClient extends pg.Client {
    constructor(options: pg.ClientConfig) {
      super({ ...options, connectionString: readUrl() });
    }
  }
  const pool = new pg.Pool({
    Client: FreshClient as typeof pg.Client,
    max: MAX_CONNECTIONS,
    application_name: "gavel-archival",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  });
  pool.on("error", onError);
  return pool;
}

/**
 * Runs `work` in one transaction. Its connection is thrown away after any failure but a plain refusal by
 * Postgres: it may still be busy with what we gave up on.
 * @throws what `work` or Postgres threw. When COMMIT was not answered, it may have happened or not
 */
export async function inTransaction<T>(
  archive: Archive,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await archive.connect();
  let broken = true;
  // A connection that breaks between two queries says so here, and then again at the next query.
  const ignore = () => {};
  session.on("error", ignore);
  try {
    await session.query("begin");
    const result = await work(session);
    await session.query("commit");
    broken = false;
    return result;
  } catch (error) {
    if (isRefusal(error))
      broken = await session.query("rollback").then(
        () => false,
        () => true,
      );
    throw error;
  } finally {
    session.removeListener("error", ignore);
    session.release(broken);
  }
}

function isRefusal(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && error.severity === "ERROR";
}

/**
 * Whether Postgres refuses these very values, now and always: SQLSTATE class 22 (data) or 23
 * (constraint). An outage, a timeout or a full disk never look like this.
 */
export function isRefusedData(error: unknown): error is pg.DatabaseError {
  return isRefusal(error) && /^2[23]/.test(error.code ?? "");
}

/** Whether Postgres answers within its connection's and query's limits. */
export async function answers(archive: Archive, timeoutMs: number): Promise<boolean> {
  const query = { text: "select 1", query_timeout: timeoutMs };
  return archive.query(query).then(
    () => true,
    () => false,
  );
}
