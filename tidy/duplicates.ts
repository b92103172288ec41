/** Blocks of code that stand in two places, to the letter. */
import type { SourceFile } from "./source-files.ts";

/** Blank lines, imports, comments and lone punctuation: alike everywhere, and no logic. */
const THIN = /^$|^(import|export)\b.*\bfrom\b|^(\/\/|\/\*|\*|--)|^[\s()[\]{},;]*$/;

interface Line {
  readonly text: string;
  readonly number: number;
}

function linesOf(text: string): Line[] {
  let isInImport = false;
  return text.split("\n").flatMap((raw, index) => {
    const line = raw.trim();
    if (/^import\b/.test(line) && !/["'];?$/.test(line)) isInImport = true;
    const isThin = isInImport || THIN.test(line);
    if (isInImport && /["'];?$/.test(line)) isInImport = false;
    return isThin ? [] : [{ text: line, number: index + 1 }];
  });
}

/** @returns one line a pair of places that share `size` or more lines in a row: `a.ts:10 ~ b.ts:40` */
export function duplicatedBlocks(
  sources: readonly Pick<SourceFile, "path" | "text">[],
  size: number,
): string[] {
  const places = new Map<string, { path: string; line: number; index: number }>();
  const found = new Set<string>();
  const told = new Map<string, number>();
  for (const { path, text } of sources) {
    const lines = linesOf(text);
    for (let index = 0; index + size <= lines.length; index++) {
      const block = lines.slice(index, index + size).map((line) => line.text);
      const key = block.join("\n");
      const first = places.get(key);
      if (first === undefined) {
        places.set(key, { path, line: lines[index]!.number, index });
        continue;
      }
      if (first.path === path && index - first.index < size) continue;
      // A longer run is one pair: the windows after its first are not told again.
      const run = `${first.path}:${first.index - index} ${path}`;
      if (told.get(run) !== index - 1)
        found.add(`${first.path}:${first.line} ~ ${path}:${lines[index]!.number}`);
      told.set(run, index);
    }
  }
  return [...found];
}
