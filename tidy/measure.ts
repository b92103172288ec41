/** Prints what the house rules count, room by room: node tidy/measure.ts */
import { cyclesOf, fileGraph, levelsOf, roomGraph, roomOf } from "./import-graph.ts";
import { duplicatedBlocks } from "./duplicates.ts";
import { isTest, listFiles, readSources } from "./source-files.ts";
import { unusedExports } from "./unused-exports.ts";
import { tolerateClosedPipe } from "../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const sources = readSources(listFiles());
const shipped = sources.filter(({ path }) => !isTest(path));
const rooms = new Map<string, typeof sources>();
for (const source of shipped) {
  const top = roomOf(source.path);
  for (const room of new Set([top, top.split("/").slice(0, 2).join("/"), top.split("/")[0]!])) {
    rooms.set(room, [...(rooms.get(room) ?? []), source]);
  }
}
for (const [room, files] of [...rooms].filter(([room]) => !room.endsWith(".ts")).sort()) {
  const graph = fileGraph(files);
  const levels = cyclesOf(graph).length > 0 ? "cyclic" : `${levelsOf(graph)} levels`;
  console.log(`${room}: ${files.length} files, ${levels} of imports`);
}
const all = fileGraph(sources);
const long = shipped.flatMap(({ path, functions }) =>
  functions.filter(({ lines }) => lines > 70).map(({ name, lines }) => `${path}: ${name} ${lines}`),
);
const list = (title: string, rows: readonly string[]) =>
  console.log(`${[`${title}: ${rows.length}`, ...rows].join("\n  ")}`);
list(
  "cycles of files",
  cyclesOf(all).map((cycle) => cycle.join(" ")),
);
list(
  "cycles of rooms, tests left out",
  cyclesOf(roomGraph(fileGraph(shipped))).map((cycle) => cycle.join(" ")),
);
list("unused exports", unusedExports(sources));
list("functions over 70 lines", long);
list("duplicated blocks of 8 lines", duplicatedBlocks(sources, 8));
