import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { StoreRefused } from "../../store/unreachable.ts";
import { type Archive, inTransaction } from "./connection.ts";

const FOLDER = new URL("./schema/", import.meta.url);

/** The key of the advisory lock: "gavel" in ASCII. */
const LOCK = 0x67_61_76_65_6c;

const WAIT_FOR_OTHERS_MS = 60_000;

interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly hash: string;
}

function readMigrations(): Migration[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".sql"));
  return files.sort().map((file, at) => {
    const match = /^(\d{3})-([a-z0-9-]+)\.sql$/.exec(file);
    if (!match || Number(match[1]) !== at + 1) throw new Error(`schema/${file}: out of order`);
    const sql = readFileSync(new URL(file, FOLDER), "utf8");
    const hash = createHash("sha256").update(sql).digest("hex").slice(0, 16);
    return { version: at + 1, name: match[2]!, sql, hash };
  });
}

/**
 * Applies the missing migrations, all of them or none. If several processes migrate at once, one does it and
 * the others wait. A newer schema is left as it is: migrations only add.
 * @returns the names of the applied migrations
 * @throws Error when an applied migration was edited later
 */
export async function migrate(archive: Archive): Promise<string[]> {
  const migrations = readMigrations();
  return inTransaction(archive, async (session) => {
    // Released migrations name their tables without a schema.
    await session.query("set local search_path = public");
    await session.query(`set local lock_timeout = ${WAIT_FOR_OTHERS_MS}`);
    await session.query(`set local statement_timeout = ${WAIT_FOR_OTHERS_MS}`);
    const wait = { query_timeout: WAIT_FOR_OTHERS_MS + 5_000 };
    await session.query({ text: `select pg_advisory_xact_lock(${LOCK})`, ...wait });
    await session.query(`
      create table if not exists public.schema_migrations (
        version integer primary key, name text not null, hash text not null,
        applied_at timestamptz not null default now())`);
    const { rows } = await session.query<{ version: number; hash: string }>(
      "select version, hash from public.schema_migrations",
    );
    const applied = new Map(rows.map(({ version, hash }) => [version, hash]));
    const done: string[] = [];
    for (const { version, name, sql, hash } of migrations) {
      const known = applied.get(version);
      if (known !== undefined && known !== hash) {
        throw new StoreRefused(
          `schema/${version} ${name} was edited after it was applied; add a new one`,
        );
      }
      if (known !== undefined) continue;
      await session.query({ text: sql, ...wait });
      await session.query(
        "insert into public.schema_migrations (version, name, hash) values ($1, $2, $3)",
        [version, name, hash],
      );
      done.push(name);
    }
    return done;
  });
}
