/** The house rules, as a test: who may import whom, what a file may be called, and how long it may get. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const ROOMS = [
  "services",
  "servers",
  "operator",
  "faults",
  "cli",
  "load",
  "dashboards",
  "chaos",
  "tidy",
];
const files = ROOMS.flatMap((room) =>
  readdirSync(room, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name)),
);
const sources = files.filter((file) => file.endsWith(".ts"));
const isTest = (file: string) =>
  file.endsWith(".test.ts") || /^(services|operator)\/testing\//.test(file);

interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, "utf8");
  const statements = text.matchAll(
    /(?:^|\n)(?:import|export)\s+(type\s+)?(?:[^;'"]*?\sfrom\s+)?["']([^"']+)["']/g,
  );
  const dynamic = text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g);
  const resolve = (from: string) =>
    from.startsWith(".") ? normalize(join(dirname(file), from)) : from;
  return [
    ...[...statements].map(([, type, from]) => ({ from: resolve(from!), typeOnly: Boolean(type) })),
    ...[...dynamic].map(([, from]) => ({ from: resolve(from!), typeOnly: false })),
  ];
}

const TIERS = ["gateway", "broadcast", "archival"];

/** The rooms of ours that a room may import. */
const MAY_IMPORT: Record<string, string[]> = {
  "services/lot": [],
  "services/runtime": [],
  "services/store": ["services/lot", "services/runtime"],
  "services/bus": ["services/lot"],
  "services/access": ["services/lot", "services/store", "services/runtime"],
  ...Object.fromEntries(
    TIERS.map((tier) => [
      `services/${tier}`,
      ["lot", "store", "bus", "access", "runtime"].map((room) => `services/${room}`),
    ]),
  ),
};

const roomOf = (path: string) => path.split("/").slice(0, 2).join("/");

test("rooms import only the rooms they may, and tiers never each other", () => {
  const broken = sources
    .filter((file) => !isTest(file) && roomOf(file) in MAY_IMPORT)
    .flatMap((file) => {
      const own = roomOf(file);
      return importsOf(file)
        .map(({ from }) => from)
        .filter((from) => from.startsWith("services/") || from.startsWith("operator"))
        .filter((from) => roomOf(from) !== own && !MAY_IMPORT[own]!.includes(roomOf(from)))
        .map((from) => `${file} imports ${from}`);
    });
  expect(broken).toEqual([]);
});

/** A library that only one place may know. */
const HOMES: [library: RegExp, home: RegExp][] = [
  [/^ioredis$/, /^services\/store\//],
  [/^@nats-io\//, /^services\/bus\//],
  [/^ws$/, /^services\/broadcast\/server\.ts$/],
  [/^pg$/, /^services\/archival\//],
  [/^@kubernetes\/client-node$/, /^operator\/kube\/client\.ts$/],
];

test("each store, bus and socket library is imported in one room only", () => {
  const broken = sources
    .filter((file) => !isTest(file) && !/^(load|faults)\//.test(file))
    .flatMap((file) =>
      importsOf(file)
        .filter(({ from, typeOnly }) => !typeOnly && HOMES.some(([lib]) => lib.test(from)))
        .filter(({ from }) => !HOMES.some(([lib, home]) => lib.test(from) && home.test(file)))
        .map(({ from }) => `${file} imports ${from}`),
    );
  expect(broken).toEqual([]);
});

test("the environment is read in runtime/env.ts, and by the programs that start other programs", () => {
  const readers = sources.filter(
    (file) => !isTest(file) && /process\.env\b/.test(readFileSync(file, "utf8")),
  );
  const allowed = /^(services\/runtime\/env\.ts|servers\/|operator\/local\/|cli\/|load\/|faults\/)/;
  expect(readers.filter((file) => !allowed.test(file))).toEqual([]);
});

test("a file is named for the one thing it holds", () => {
  const vague = /(^|[-/])(utils?|helpers?|common|types?|interfaces?|manager|base|lib|misc|index)\b/;
  const named = files.filter((file) => !/\/(page|reports)\//.test(file));
  expect(named.filter((file) => vague.test(file))).toEqual([]);
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9-]+)*$/;
  const tidy = (file: string) =>
    file.split("/").every((part) => kebab.test(part) || /^[A-Z]+\.md$/.test(part));
  expect(named.filter((file) => !tidy(file))).toEqual([]);
});

test("files stay short enough to read, and nothing is left to do later in a comment", () => {
  const long = sources.filter((file) => {
    const limit = isTest(file) ? 700 : 400;
    return readFileSync(file, "utf8").split("\n").length > limit;
  });
  expect(long).toEqual([]);
  const todo = /\b(TODO|FIXME|XXX|HACK)\b/;
  expect(files.filter((file) => todo.test(readFileSync(file, "utf8")))).toEqual([]);
});

test("a script opens with its KEYS, ARGV and Reply, and a migration with why", () => {
  for (const file of files.filter((name) => name.endsWith(".lua"))) {
    const head = readFileSync(file, "utf8").slice(0, 4_000);
    if (file.endsWith("append-event.lua")) continue;
    expect([file, /KEYS\[1\]/.test(head), /ARGV/.test(head), /Reply/.test(head)]).toEqual([
      file,
      true,
      true,
      true,
    ]);
  }
  for (const file of files.filter((name) => name.endsWith(".sql"))) {
    expect([file, readFileSync(file, "utf8").startsWith("-- ")]).toEqual([file, true]);
  }
});

test("no test is left alone or unfinished", () => {
  const skipping = sources.filter(
    (file) =>
      isTest(file) && /\b(test|describe|it)\.(only|todo)\b/.test(readFileSync(file, "utf8")),
  );
  expect(skipping).toEqual([]);
});
