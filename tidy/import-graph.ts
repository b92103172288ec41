/** Who imports whom, between files and between rooms. */
import type { SourceFile } from "./source-files.ts";

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Rooms that have rooms inside. What lies directly in one of them (main, app, config, metrics) is a room by itself. */
const DIVIDED = ["services/archival", "operator", "services", "cli", "load"];

/** The folder that a file belongs to: `services/store`, `services/archival/pipeline`, `operator/kube`, `chaos`. */
export function roomOf(path: string): string {
  const divided = DIVIDED.find((room) => path.startsWith(`${room}/`));
  const depth = divided === undefined ? 1 : divided.split("/").length + 1;
  return path.split("/").slice(0, depth).join("/");
}

/** Imports between files of the repository, type-only ones included. */
export function fileGraph(sources: readonly SourceFile[]): Graph {
  const known = new Set(sources.map(({ path }) => path));
  return new Map(
    sources.map(({ path, imports }) => [
      path,
      new Set(imports.map(({ from }) => from).filter((from) => known.has(from) && from !== path)),
    ]),
  );
}

export function roomGraph(files: Graph): Graph {
  const rooms = new Map<string, Set<string>>();
  for (const [path, targets] of files) {
    const room = roomOf(path);
    const others = rooms.get(room) ?? new Set();
    for (const target of targets) if (roomOf(target) !== room) others.add(roomOf(target));
    rooms.set(room, others);
  }
  return rooms;
}

/** Groups of nodes that reach each other, each sorted (Tarjan's strongly connected components of two or more). */
export function cyclesOf(graph: Graph): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const connect = (node: string) => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    stack.push(node);
    for (const target of graph.get(node) ?? []) {
      if (!index.has(target)) connect(target);
      else if (!stack.includes(target)) continue;
      low.set(node, Math.min(low.get(node)!, low.get(target)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const cycle = stack.splice(stack.indexOf(node));
    if (cycle.length > 1) cycles.push(cycle.sort());
  };
  for (const node of graph.keys()) if (!index.has(node)) connect(node);
  return cycles;
}

/** How many imports follow each other at most, starting from any node. The graph must have no cycles. */
export function levelsOf(graph: Graph): number {
  const levels = new Map<string, number>();
  const levelOf = (node: string): number => {
    const known = levels.get(node);
    if (known !== undefined) return known;
    const level = 1 + Math.max(0, ...[...(graph.get(node) ?? [])].map(levelOf));
    levels.set(node, level);
    return level;
  };
  return Math.max(0, ...[...graph.keys()].map(levelOf));
}
