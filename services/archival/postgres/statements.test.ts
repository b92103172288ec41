import { readdirSync, readFileSync } from "node:fs";
import pg from "pg";
import { expect, test } from "vitest";
import { isRefusedData } from "./connection.ts";

const files = readdirSync(import.meta.dirname)
  .filter((file) => /(?<!test)\.ts$/.test(file))
  .map((file): [string, string] => {
    return [file, readFileSync(`${import.meta.dirname}/${file}`, "utf8")];
  });

/** What must not be in a statement, because its meaning then depends on the session. */
const FORBIDDEN: Record<string, RegExp> = {
  "a table without its schema":
    /\b(from|join|into|update) (events|bids|lots|results|watermarks|dead_letters|auctions|schema_migrations)\b/,
  "a setting of the session": /["'`;]\s*set (?!local )|set_config\([^)]*false\)|\bdiscard\b/i,
  "a prepared statement, or a lock of the session": /\bname: ["'`]|pg_(try_)?advisory_lock/,
  "a startup parameter":
    /^\s*(statement_timeout|lock_timeout|idle_in_transaction_session_timeout|options):/m,
  "a float or a time as text": /::(float\d?|real|double|timestamp(tz)?|date|interval)\b\)? as\b/,
  "a time that is not read by epochMs()": /extract\(epoch from [^)]*\) \* 1000(?!\)::bigint)/,
};

test.each(Object.entries(FORBIDDEN))("no statement of the archive has %s", (_, pattern) => {
  const found = files.filter(([, text]) => pattern.test(text)).map(([file]) => file);
  expect(found).toEqual([]);
});

test("a refusal is known by its SQLSTATE in every language of the server", () => {
  const refusal = (code: string) =>
    Object.assign(new pg.DatabaseError("ungültige Byte-Sequenz", 1, "error"), {
      code,
      severity: "FEHLER",
    });
  expect(isRefusedData(refusal("22021"))).toBe(true);
  expect(isRefusedData(refusal("57014"))).toBe(false);
});
