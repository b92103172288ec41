import { expect, test } from "vitest";
import { startPostgres } from "../../testing/servers.ts";
import { until } from "../../testing/until.ts";
import { readOnlyQuery } from "./query.ts";

const { url } = await startPostgres();
await until("postgres takes queries", () => readOnlyQuery(url, "select 1"));

test("readOnlyQuery() gives columns and rows, and stops at 1,000", async () => {
  expect(await readOnlyQuery(url, "select 1 as a, 'x' as b;")).toEqual({
    columns: ["a", "b"],
    rows: [[1, "x"]],
    more: false,
  });
  const many = await readOnlyQuery(url, "select generate_series(1, 5000)");
  expect(many.rows.length).toBe(1_000);
  expect(many.more).toBe(true);
  expect((await readOnlyQuery(url, "explain select 1")).rows.length).toBe(1);
});

test.each([
  "create table t ()",
  "select 1; create table t ()",
  "commit; create table t ()",
  "with made as (insert into pg_class default values returning 1) select * from made",
  "select nothing from nowhere",
  "",
  "set transaction read write",
])("readOnlyQuery() changes nothing by: %s", async (sql) => {
  await readOnlyQuery(url, sql).catch(() => {});
  const { rows } = await readOnlyQuery(url, "select to_regclass('t') is null");
  expect(rows).toEqual([[true]]);
});

test("readOnlyQuery() refuses to write, in Postgres's words", async () => {
  await expect(readOnlyQuery(url, "create table t ()")).rejects.toThrow("read-only transaction");
});
