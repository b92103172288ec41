/** Runs one SQL query of the owner, in a read-only transaction. */
import pg from "pg";
import { begin } from "./transaction.ts";

interface QueryResult {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
  /** There are rows beyond MAX_ROWS. */
  readonly more: boolean;
}

const MAX_ROWS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 30_000;

/** People name tables without a schema. The driver reads times and intervals in these styles only. */
const DISPLAY =
  "set local search_path = public; set local datestyle = 'ISO'; set local intervalstyle = 'postgres'";

/** Statements that are read through a cursor, so that a large table is not fetched whole. */
const CURSOR_STATEMENT = /^\s*(select|with|values|table)\b/i;

/** @throws Error of Postgres; also for a statement that would write, and for several statements */
export async function readOnlyQuery(url: string, sql: string): Promise<QueryResult> {
  const session = new pg.Client({
    connectionString: url,
    application_name: "gavel-sql",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
  });
  session.on("error", () => {}); // The running query rejects with the same error.
  await session.connect();
  try {
    await session.query(`${begin("read committed, read only", STATEMENT_TIMEOUT_MS)}; ${DISPLAY}`);
    // The extended protocol takes one statement: nobody can end the transaction and then write.
    const run = (text: string) => {
      const query: pg.QueryArrayConfig & { queryMode: "extended" } = {
        text,
        rowMode: "array",
        queryMode: "extended",
      };
      return session.query<unknown[]>(query);
    };
    const statement = sql.trim().replace(/;\s*$/, "");
    const isRead = CURSOR_STATEMENT.test(statement);
    if (isRead) await run(`declare answer cursor for ${statement}`);
    const { fields, rows } = await run(isRead ? `fetch ${MAX_ROWS + 1} from answer` : statement);
    const columns = fields.map(({ name }) => name);
    return { columns, rows: rows.slice(0, MAX_ROWS), more: rows.length > MAX_ROWS };
  } finally {
    await session.end();
  }
}
