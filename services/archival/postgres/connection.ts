/** Connections to the archive. Every wait has a limit: pg waits for ever by default. */
import pg from "pg";
import { begin } from "./transaction.ts";
import { READ_NUMBERS } from "./numbers.ts";

const MAX_CONNECTIONS = 5;
const CONNECT_TIMEOUT_MS = 3_000;
/** Longer than the statement timeout: after that one the connection is still usable. */
const QUERY_TIMEOUT_MS = 12_000;
export const STATEMENT_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_DELAY_MS = 10_000;

/** An open transaction. */
export interface Session {
  /** Statements have no names: behind PgBouncer the next transaction may get another connection. */
  query<Row = any>(
    statement: string | pg.QueryConfig | pg.QueryArrayConfig,
    values?: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }>;
}

export class Archive implements Session {
  readonly pool: pg.Pool;

  constructor(pool: pg.Pool) {
    this.pool = pool;
  }

  /** Runs one statement in a separate transaction, so that the time limits of transactions apply to it. */
  query<Row = any>(...statement: Parameters<Session["query"]>) {
    return inTransaction(this, (session) => session.query<Row>(...statement));
  }

  end(): Promise<void> {
    return this.pool.end();
  }
}

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
    types: READ_NUMBERS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS,
  });
  pool.on("error", onError);
  return new Archive(pool);
}

/**
 * Runs `work` in one transaction. After a failure the connection is closed, unless Postgres answered with an error
 * and took the rollback: it may still be running the statement that timed out.
 * @throws the error of `work` or of Postgres. If the answer to COMMIT was lost, the transaction may be committed
 */
export async function inTransaction<T>(
  archive: Archive,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await archive.pool.connect();
  let broken = true;
  // When a connection breaks between two queries, the next query rejects, too.
  const ignore = () => {};
  session.on("error", ignore);
  try {
    await session.query(begin("read committed, read write", STATEMENT_TIMEOUT_MS));
    const result = await work(session as Session);
    await session.query("commit");
    broken = false;
    return result;
  } catch (error) {
    if (error instanceof pg.DatabaseError)
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

/**
 * Whether Postgres will never accept these values: SQLSTATE class 22 (data) or 54 (a value too long for an index), or
 * 23505 (a bid id that exists). Gavel's schema has no other constraint: any other violation is of a foreign constraint.
 * Severity and message are in the language of the server.
 */
export function isRefusedData(error: unknown): error is pg.DatabaseError {
  return error instanceof pg.DatabaseError && /^(22...|54...|23505)$/.test(error.code ?? "");
}

/** @throws unless Postgres answers a query within the time limit */
export async function ask({ pool }: Archive, timeoutMs: number): Promise<void> {
  const query = { text: "select 1", query_timeout: timeoutMs };
  await pool.query(query);
}

/** Whether Postgres answers a query within the time limit. */
export async function answers(archive: Archive, timeoutMs: number): Promise<boolean> {
  return ask(archive, timeoutMs).then(
    () => true,
    () => false,
  );
}
