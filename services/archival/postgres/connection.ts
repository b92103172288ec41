/** Connections to the archive. Every wait has a limit: pg waits for ever by default. */
import pg from "pg";

export type Archive = pg.Pool;
export type Session = pg.PoolClient;

const MAX_CONNECTIONS = 5;
const CONNECT_TIMEOUT_MS = 3_000;
/** Longer than the statement timeout: after that one the connection is still usable. */
const QUERY_TIMEOUT_MS = 12_000;
export const STATEMENT_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/**
 * @param readUrl is called for each connection, because the password may change
 * @param onError is called when an idle connection breaks; the pool replaces it
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
 * Runs `work` in one transaction. After a failure the connection is closed, unless Postgres answered with a plain
 * error: it may still be running the statement that timed out.
 * @throws the error of `work` or of Postgres. If the answer to COMMIT was lost, the transaction may be committed
 */
export async function inTransaction<T>(
  archive: Archive,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await archive.connect();
  let broken = true;
  // When a connection breaks between two queries, the next query rejects, too.
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
 * Whether Postgres refuses these values for ever: SQLSTATE class 22 (data) or 23 (constraint). An outage, a
 * timeout or a full disk has another class.
 */
export function isRefusedData(error: unknown): error is pg.DatabaseError {
  return isRefusal(error) && /^2[23]/.test(error.code ?? "");
}

/** Whether Postgres answers a query within the time limit. */
export async function answers(archive: Archive, timeoutMs: number): Promise<boolean> {
  const query = { text: "select 1", query_timeout: timeoutMs };
  return archive.query(query).then(
    () => true,
    () => false,
  );
}
