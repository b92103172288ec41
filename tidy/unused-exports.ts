/** Exports that no other file imports. */
import type { SourceFile } from "./source-files.ts";

/** Read by a program and not by an import that is seen here: tool configuration, k6 scripts, the page in a browser. */
const ENTRY_POINTS = /^vitest\.config\.ts$|\.k6\.js$|^services\/gateway\/page\//;

/** @returns `path: name` of each */
export function unusedExports(sources: readonly SourceFile[]): string[] {
  const used = new Map<string, Set<string>>();
  for (const { imports } of sources) {
    for (const { from, names } of imports) {
      const all = used.get(from) ?? new Set();
      for (const name of names) all.add(name);
      used.set(from, all);
    }
  }
  return sources
    .filter(({ path }) => !ENTRY_POINTS.test(path))
    .flatMap(({ path, exports }) => {
      const names = used.get(path) ?? new Set();
      if (names.has("*")) return [];
      return exports.filter((name) => !names.has(name)).map((name) => `${path}: ${name}`);
    });
}
