/** The role of `make sql`: it reads the tables of the archive, and nothing else. */
import pg from "pg";

export const READER_ROLE = "gavel_reader";

const CONNECT_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 10_000;

/**
 * Creates the role, or gives an existing one these rights and this password. A read-only transaction is not enough:
 * a superuser's may read and write files, and run programs (`copy … to program`). Idempotent.
 * @param url of the owner of the archive's tables
 */
export async function createReaderRole(url: string, password: string): Promise<void> {
  const session = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: STATEMENT_TIMEOUT_MS,
  });
  session.on("error", () => {}); // The running query rejects with the same error.
  await session.connect();
  try {
    const { rows } = await session.query<{ exists: boolean; database: string }>(
      "select exists (select from pg_catalog.pg_roles where rolname = $1), current_database() as database",
      [READER_ROLE],
    );
    const { exists, database } = rows[0]!;
    const name = session.escapeIdentifier(database);
    await session.query(`
      begin;
      ${exists ? "alter" : "create"} role ${READER_ROLE} login nosuperuser nocreatedb nocreaterole noreplication
        nobypassrls connection limit 10 password ${session.escapeLiteral(password)};
      alter role ${READER_ROLE} set default_transaction_read_only = on;
      alter role ${READER_ROLE} set statement_timeout = '30s';
      revoke create on schema public from public;
      revoke temporary on database ${name} from public;
      grant usage on schema public to ${READER_ROLE};
      grant select on all tables in schema public to ${READER_ROLE};
      alter default privileges in schema public grant select on tables to ${READER_ROLE};
      commit`);
  } finally {
    await session.end();
  }
}
