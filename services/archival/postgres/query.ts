/** One question to the archive by its owner, in a transaction that can change nothing. */
import pg from "pg";

export interface Answer {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** There are rows beyond MAX_ROWS. */
  readonly more: boolean;
}

const MAX_ROWS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 30_000;

/** What can be read through a cursor, so that a large table is not fetched whole. */
const READS_ROWS = /^\s*(select|with|values|table)\b/i;

/** @throws Error with Postgres's words; also for a statement that would write, or several at once */
export async function readOnlyQuery(url: string, sql: string): Promise<Answer> {
  const session = new pg.Client({
    connectionString: url,
    application_name: "gavel-sql",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
    statement_timeout: STATEMENT_TIMEOUT_MS,
  });
  session.on("error", () => {}); // told again by the query that it breaks
  await session.connect();
  try {
    await session.query("begin transaction read only");
    // "extended" takes one statement only: nobody ends the transaction and then writes.
    const ask = (text: string) => {
      const query: pg.QueryArrayConfig & { queryMode: "extended" } = {
        text,
        rowMode: "array",
        queryMode: "extended",
      };
      return session.query<unknown[]>(query);
    };
    const statement = sql.trim().replace(/;\s*$/, "");
    const isRead = READS_ROWS.test(statement);
    if (isRead) await ask(`declare answer cursor for ${statement}`);
    const { fields, rows } = await ask(isRead ? `fetch ${MAX_ROWS + 1} from answer` : statement);
    const columns = fields.map(({ name }) => name);
    return { columns, rows: rows.slice(0, MAX_ROWS), more: rows.length > MAX_ROWS };
  } finally {
    await session.end();
  }
}
