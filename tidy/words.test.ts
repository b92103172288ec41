/** One concept has one word: the synonyms that GLOSSARY.md bans stand nowhere in code, data, manifests or prose. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { listFiles } from "./source-files.ts";

interface BannedWord {
  readonly word: string;
  /** What is written in its place. */
  readonly instead: string;
}

/** The last table of the glossary: `| word | means | never |`. */
function bannedWords(glossary: string): BannedWord[] {
  const table = glossary.split(/\|\s*word\s*\|\s*means\s*\|\s*never\s*\|/)[1] ?? "";
  const rows = table.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  return rows
    .filter((cells) => cells.length >= 5 && !/^-+$/.test(cells[1]!))
    .flatMap(([, instead, , never]) =>
      never!
        .split(",")
        .map((word) => ({ word: word.trim().replaceAll("`", ""), instead: instead! })),
    );
}

/** Finds a word alone and as a part of camelCase, snake_case and kebab-case. Capitals inside a word count. */
function patternOf(word: string): RegExp {
  const hasInnerCapital = /[a-z][A-Z]/.test(word) || /^[A-Z]/.test(word);
  if (hasInnerCapital) return new RegExp(`(?<![A-Za-z])${word}(?![a-z])`);
  const [first, ...more] = word.split(/[ -]/);
  const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);
  const camel = [first!, ...more.map(capital)].join("");
  const spelled = [first!, ...more].join("[ _-]");
  return new RegExp(
    `(?<![A-Za-z])(${camel}|${spelled})(?![a-z])|${[first!, ...more].map(capital).join("[ _-]?")}(?![a-z])`,
  );
}

const SCANNED = /\.(ts|js|lua|sql|ya?ml|json|md|sh|html)$|^Makefile$|^Dockerfile$/;
const LEFT_OUT =
  /^(GLOSSARY\.md|package-lock\.json|tidy\/words\.test\.ts|operator\/desired\/golden\/|dashboards\/dashboards\.test\.ts)/;

test("words that GLOSSARY.md bans are not used", () => {
  const banned = bannedWords(readFileSync("GLOSSARY.md", "utf8")).map((entry) => ({
    ...entry,
    pattern: patternOf(entry.word),
  }));
  expect(banned.length).toBeGreaterThan(5);
  const found = listFiles()
    .filter((path) => SCANNED.test(path) && !LEFT_OUT.test(path))
    .flatMap((path) =>
      readFileSync(path, "utf8")
        .split("\n")
        .flatMap((line, index) =>
          banned
            .filter(({ pattern }) => pattern.test(line))
            .map(
              ({ word, instead }) => `${path}:${index + 1}: "${word}"; the word is "${instead}"`,
            ),
        ),
    );
  expect(found).toEqual([]);
});

test.each([
  ["price", "the price of it", true],
  ["price", "startPrice", true],
  ["price", "start_price", true],
  ["price", "pricelessness", false],
  ["highest bid", "the highest bid", true],
  ["highest bid", "highestBid", true],
  ["highest bid", "highest_bid", true],
  ["lookAgain", "lookAgainMs", true],
  ["Told", "type Told =", true],
  ["Told", "it is told", false],
])("%s is found in %j: %s", (word, line, isFound) => {
  expect(patternOf(word).test(line)).toBe(isFound);
});
