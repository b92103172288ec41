/** Who may import whom. */
import { expect, test } from "vitest";
import { cyclesOf, fileGraph, levelsOf, roomGraph, roomOf } from "./import-graph.ts";
import { isTest, listFiles, readSources } from "./source-files.ts";

const sources = readSources(listFiles());
const shipped = sources.filter(({ path }) => !isTest(path));

const TIERS = ["gateway", "broadcast", "archival"];
const BELOW_TIERS = ["lot", "runtime", "store", "bus", "access"].map((room) => `services/${room}`);

/** The rooms that a room may import, where the order of rooms alone would allow more. A prefix names all rooms in it. */
const MAY_IMPORT: [room: string, allowed: readonly string[]][] = [
  ["services/lot", []],
  ["services/runtime", []],
  ["services/store", ["services/lot", "services/runtime"]],
  ["services/bus", ["services/lot", "services/runtime"]],
  ["services/access", ["services/lot", "services/store", "services/runtime"]],
  ...TIERS.map((tier): [string, string[]] => [
    `services/${tier}`,
    [...BELOW_TIERS, `services/${tier}`],
  ]),
  ["servers", []],
  ["operator/kube", ["services/runtime"]],
  ["operator/api", ["operator/kube", "services"]],
  ["operator/desired", ["operator/api", "operator/kube", "services"]],
];

const isIn = (path: string, room: string) => path.startsWith(`${room}/`);

test("a room imports only the rooms that it may", () => {
  const local = new Set(sources.map(({ path }) => path));
  const broken = MAY_IMPORT.flatMap(([room, allowed]) =>
    shipped
      .filter(({ path }) => isIn(path, room))
      .flatMap(({ path, imports }) =>
        imports
          .map(({ from }) => from)
          .filter((from) => local.has(from) && !isIn(from, room))
          .filter((from) => !allowed.some((other) => isIn(from, other)))
          .map((from) => `${path} imports ${from}`),
      ),
  );
  expect(broken).toEqual([]);
});

test("services import nothing of what is built on them, tests included", () => {
  const above = /^(operator|cli|load|chaos|faults|dashboards)\//;
  const broken = sources
    .filter(({ path }) => isIn(path, "services") || isIn(path, "servers"))
    .flatMap(({ path, imports }) =>
      imports.filter(({ from }) => above.test(from)).map(({ from }) => `${path} imports ${from}`),
    );
  expect(broken).toEqual([]);
});

test("imports run one way between rooms, and no file imports itself through others", () => {
  expect(cyclesOf(fileGraph(sources))).toEqual([]);
  expect(cyclesOf(roomGraph(fileGraph(shipped)))).toEqual([]);
});

/** A library that only one place may import. */
const HOMES: [library: RegExp, home: RegExp][] = [
  [/^ioredis$/, /^services\/store\//],
  [/^@nats-io\//, /^services\/bus\//],
  [/^ws$/, /^services\/broadcast\/server\.ts$/],
  [/^pg$/, /^services\/archival\//],
  [/^@kubernetes\/client-node$/, /^operator\/kube\/client\.ts$/],
];

test("each store, bus and socket library is imported in one room only", () => {
  const broken = shipped
    .filter(({ path }) => !/^(load|faults)\//.test(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ from, typeOnly }) => !typeOnly && HOMES.some(([lib]) => lib.test(from)))
        .filter(({ from }) => !HOMES.some(([lib, home]) => lib.test(from) && home.test(path)))
        .map(({ from }) => `${path} imports ${from}`),
    );
  expect(broken).toEqual([]);
});

test("the environment is read in runtime/env.ts, and by the programs that start other programs", () => {
  const readers = shipped.filter(({ text }) => /process\.env\b/.test(text));
  const allowed =
    /^(vitest\.config\.ts|services\/runtime\/env\.ts|servers\/|operator\/local\/|cli\/|load\/|faults\/)/;
  expect(readers.map(({ path }) => path).filter((path) => !allowed.test(path))).toEqual([]);
});

test("cyclesOf() and levelsOf() see type-only imports and chains", () => {
  const graph = (edges: Record<string, string[]>) =>
    new Map(Object.entries(edges).map(([from, to]) => [from, new Set(to)]));
  expect(cyclesOf(graph({ a: ["b"], b: ["c"], c: ["a"], d: ["a"] }))).toEqual([["a", "b", "c"]]);
  expect(cyclesOf(graph({ a: ["b", "c"], b: ["c"], c: [] }))).toEqual([]);
  expect(levelsOf(graph({ a: ["b", "c"], b: ["c"], c: [] }))).toBe(3);
  expect(roomOf("services/archival/pipeline/relay.ts")).toBe("services/archival/pipeline");
  expect(roomOf("services/archival/app.ts")).toBe("services/archival/app.ts");
  expect(roomOf("chaos/run.ts")).toBe("chaos");
});
