/** What a file may be called, how long it may get, and how it opens. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { isTest, listFiles } from "./source-files.ts";

const ROOMS = /^(services|servers|operator|faults|cli|load|dashboards|chaos|tidy)\//;
const files = listFiles().filter((path) => ROOMS.test(path));
const sources = files.filter((path) => path.endsWith(".ts"));
/** Lua that other scripts begin with; it has no KEYS of its own. */
const SHARED_SCRIPTS = /\/lot-functions\.lua$/;
const read = (path: string) => readFileSync(path, "utf8");

test("a file is named for the one thing it holds", () => {
  const vague = /(^|[-/])(utils?|helpers?|common|types?|interfaces?|manager|base|lib|misc|index)\b/;
  const named = files.filter((path) => !path.includes("/page/"));
  expect(named.filter((path) => vague.test(path))).toEqual([]);
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*$/;
  const isTidy = (path: string) =>
    path.split("/").every((part) => kebab.test(part) || /^[A-Z]+\.md$/.test(part));
  expect(named.filter((path) => !isTidy(path))).toEqual([]);
});

test("files stay short enough to read, and no comment leaves work for later", () => {
  const long = sources.filter((path) => read(path).split("\n").length > (isTest(path) ? 700 : 400));
  expect(long).toEqual([]);
  const later = /\b(TODO|FIXME|XXX|HACK)\b/;
  expect(files.filter((path) => !path.startsWith("tidy/") && later.test(read(path)))).toEqual([]);
});

test("a script opens with its KEYS, ARGV and Reply, and a migration with why", () => {
  for (const path of files.filter((name) => name.endsWith(".lua"))) {
    const head = read(path).slice(0, 4_000);
    if (SHARED_SCRIPTS.test(path)) continue;
    expect([path, /KEYS\[1\]/.test(head), /ARGV/.test(head), /Reply/.test(head)]).toEqual([
      path,
      true,
      true,
      true,
    ]);
  }
  for (const path of files.filter((name) => name.endsWith(".sql"))) {
    expect([path, read(path).startsWith("-- ")]).toEqual([path, true]);
  }
});

test("no test is left alone or unfinished", () => {
  const unfinished = /\b(test|describe|it)\.(only|todo)\b/;
  const left = sources.filter((path) => isTest(path) && unfinished.test(read(path)));
  expect(left).toEqual(["tidy/files.test.ts"].filter((path) => left.includes(path)));
});
