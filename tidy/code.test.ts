/** What no file may hold: exports that nobody imports, long functions, copies, spread literals. */
import { expect, test } from "vitest";
import { duplicatedBlocks } from "./duplicates.ts";
import { isTest, listFiles, parseSource, readSources } from "./source-files.ts";
import { unusedExports } from "./unused-exports.ts";

const sources = readSources(listFiles());
const shipped = sources.filter(({ path }) => !isTest(path));

const FUNCTION_MAX_LINES = 70;
/** Longer than that, and why. */
const LONG_FUNCTIONS: Record<string, string> = {
  "services/gateway/page/card.js: createCard": "a card's elements are found once and closed over",
  "services/gateway/page/stream.js: openStream": "the handlers of one socket share its state",
};

const BLOCK_LINES = 8;

test("every export is imported somewhere", () => {
  expect(unusedExports(sources)).toEqual([]);
});

test(`a function has at most ${FUNCTION_MAX_LINES} lines`, () => {
  const long = shipped.flatMap(({ path, functions }) =>
    functions
      .filter(({ lines }) => lines > FUNCTION_MAX_LINES)
      .map(({ name, lines }) => ({ name: `${path}: ${name}`, lines })),
  );
  expect(long.filter(({ name }) => !(name in LONG_FUNCTIONS))).toEqual([]);
  const names = long.map(({ name }) => name);
  expect(Object.keys(LONG_FUNCTIONS).filter((name) => !names.includes(name))).toEqual([]);
});

test(`no block of ${BLOCK_LINES} lines stands twice`, () => {
  expect(duplicatedBlocks(shipped, BLOCK_LINES)).toEqual([]);
});

test("literals are written plainly, not spread", () => {
  const found = sources.flatMap(({ path, spreadLiterals }) =>
    spreadLiterals.map((line) => `${path}:${line}`),
  );
  expect(found).toEqual([]);
});

test("the rules above find what they look for", () => {
  const a = parseSource("a.ts", `export const one = 1;\nexport const two = 2;\n`);
  const b = parseSource("b.ts", `import { one } from "./a.ts";\nexport const three = one;\n`);
  expect(unusedExports([a, b])).toEqual(["a.ts: two", "b.ts: three"]);
  const long = parseSource("c.ts", `const f = () => {\n${"  g();\n".repeat(80)}};\n`);
  expect(long.functions).toEqual([{ name: "f", firstLine: 1, lines: 82 }]);
  const spread = parseSource(
    "d.ts",
    `f(...[1]);\ng(...({ a: 1 } as const));\nh(...[...i].map(j));\n`,
  );
  expect(spread.spreadLiterals).toEqual([1, 2]);
  const block = Array.from({ length: BLOCK_LINES }, (_, line) => `call${line}();`).join("\n");
  const twice = [
    { path: "a.ts", text: `${block}\n` },
    { path: "b.ts", text: `first();\n\n${block}\n` },
  ];
  expect(duplicatedBlocks(twice, BLOCK_LINES)).toEqual(["a.ts:1 ~ b.ts:3"]);
  expect(duplicatedBlocks(twice, BLOCK_LINES + 1)).toEqual([]);
});
