import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { StoreRefused } from "../store/unreachable.ts";
import { readStoreUrl } from "./store-url.ts";

type Variable = Parameters<typeof readStoreUrl>[0];

const dir = mkdtempSync(join(tmpdir(), "gavel-store-url-"));
const file = join(dir, "url");
afterAll(() => rmSync(dir, { recursive: true }));

test.each<[Variable, string]>([
  ["REDIS_URL_FILE", "redis://h:6379"],
  ["REDIS_URL_FILE", "rediss://user:p%25ss@[::1]:6380/2"],
  ["NATS_URL_FILE", "nats://token@h:4222"],
  ["NATS_URL_FILE", "tls://user:password@h"],
  ["POSTGRES_URL_FILE", "postgres://user:50%@h:5432/db?sslmode=require"],
  ["POSTGRES_URL_FILE", "postgresql://user:password@/db?host=/run/postgresql"],
  ["POSTGRES_URL_FILE", "postgres:///db"],
])("%s: %s is taken as it is", (variable, url) => {
  writeFileSync(file, `${url}\n`);
  expect(readStoreUrl(variable, file)).toBe(url);
});

test.each<[Variable, string]>([
  ["REDIS_URL_FILE", ""],
  ["REDIS_URL_FILE", "s3cret"],
  ["REDIS_URL_FILE", "http://s3cret:6379"],
  ["REDIS_URL_FILE", "redis:///s3cret"],
  ["REDIS_URL_FILE", "redis://u:s3cret%@h:6379"],
  ["NATS_URL_FILE", "nats://u:s3cret%ff@h:4222"],
  ["NATS_URL_FILE", "nats://s3cret@h:99999"],
  ["POSTGRES_URL_FILE", "mysql://u:s3cret@h/db"],
  ["POSTGRES_URL_FILE", "host=h password=s3cret"],
])("%s: %s is refused by the name of the variable, and is not repeated", (variable, url) => {
  writeFileSync(file, url);
  const read = () => readStoreUrl(variable, file);
  expect(read).toThrow(StoreRefused);
  expect(read).toThrow(`${variable}: ${file} does not contain a URL like `);
  expect(read).not.toThrow("s3cret");
});

test("a file that cannot be read is named with its variable", () => {
  const absent = join(dir, "absent");
  expect(() => readStoreUrl("NATS_URL_FILE", absent)).toThrow(
    `NATS_URL_FILE: ${absent} cannot be read (ENOENT)`,
  );
});
