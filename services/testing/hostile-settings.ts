/** Settings of a database that every session begins with, and that change what a careless program reads and writes. */
import { connectArchive } from "../archival/postgres/connection.ts";

const SETTINGS = {
  DateStyle: "SQL, DMY",
  IntervalStyle: "sql_standard",
  TimeZone: "Asia/Kathmandu",
  search_path: "nowhere",
  standard_conforming_strings: "off",
  backslash_quote: "on",
  transform_null_equals: "on",
  bytea_output: "escape",
  extra_float_digits: "-15",
  array_nulls: "off",
  client_encoding: "LATIN1",
  default_transaction_isolation: "serializable",
  default_transaction_read_only: "on",
  synchronous_commit: "off",
  statement_timeout: "0",
  lock_timeout: "0",
  plan_cache_mode: "force_generic_plan",
};

/** Creates a database with these settings beside the one of `url`. @returns its URL */
export async function createHostileDatabase(url: string): Promise<string> {
  const archive = connectArchive(
    () => url,
    () => {},
  );
  try {
    await archive.pool.query("create database hostile");
    for (const [name, value] of Object.entries(SETTINGS)) {
      await archive.pool.query(`alter database hostile set ${name} = '${value}'`);
    }
  } finally {
    await archive.end();
  }
  const hostile = new URL(url);
  hostile.pathname = "/hostile";
  return hostile.href;
}
