/** Holds the documents to the repository: links, paths, commands, metrics, problem codes, the map of rooms. */
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { COMMANDS } from "./cli/commands.ts";
import { anchorOf, contentsOf, withoutCode } from "./cli/generate/table-of-contents.ts";
import { PROBLEMS } from "./services/access/problems.ts";
import { type CodeBlock, codeBlocks, textOf, trackedFiles } from "./services/testing/documents.ts";

const files = trackedFiles();
const isFile = new Set(files);
const isFolder = new Set(files.flatMap((file) => parentsOf(file)));
const PAGES = files.filter((file) => file.endsWith(".md") && !file.startsWith("chaos/reports/"));
const README = "README.md";
const OPERATING = "docs/operating.md";

function parentsOf(file: string): string[] {
  const parents: string[] = [];
  for (let folder = dirname(file); folder !== "."; folder = dirname(folder)) parents.push(folder);
  return parents;
}

interface Link {
  readonly page: string;
  /** From the root of the repository. */
  readonly path: string;
  readonly anchor: string | undefined;
}

function linksOf(page: string): Link[] {
  const prose = withoutCode(textOf(page)).replaceAll(/`[^`\n]*`/g, "code");
  const links = prose.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g);
  return [...links].map(([, path, anchor]) => {
    const target = path === "" ? page : normalize(join(dirname(page), path!));
    return { page, path: target.replace(/\/$/, ""), anchor };
  });
}

const anchorsOf = (page: string): string[] =>
  [...withoutCode(textOf(page)).matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    anchorOf(title!.replaceAll("`", "")),
  );

test("every link leads to a file or folder, and to a heading that it has", () => {
  const links = PAGES.flatMap(linksOf);
  expect(links.filter(({ path }) => !isFile.has(path) && !isFolder.has(path))).toEqual([]);
  const lost = links.filter(
    ({ path, anchor }) => anchor !== undefined && !anchorsOf(path).includes(anchor),
  );
  expect(lost).toEqual([]);
});

test("every path and file name in code style exists", () => {
  const names = new Set(files.map((file) => file.slice(file.lastIndexOf("/") + 1)));
  const isPath = /^[\w./-]+\.(?:ts|lua|md|sql|js)$/;
  const missing = PAGES.flatMap((page) => {
    const code = [...textOf(page).matchAll(/`[^`\n]+`|^ *```[\s\S]*?^ *```/gm)];
    return code
      .flatMap(([text]) => text.replaceAll("`", " ").split(/\s+/))
      .filter((word) => isPath.test(word) && !/(^|\/)(x|NNN)[.-]|^\./.test(word))
      .filter((word) =>
        word.includes("/")
          ? !isFile.has(word) && !isFile.has(normalize(join(dirname(page), word)))
          : !names.has(word),
      )
      .map((word) => `${page}: ${word}`);
  });
  expect(missing).toEqual([]);
});

test("a function or field that is named beside a file is in that file", () => {
  const missing = PAGES.flatMap((page) => {
    const named = textOf(page).matchAll(/\]\(([^)#]+\.(?:ts|lua))\)\)?,\s+`([\w.]+)`/g);
    return [...named]
      .filter(([, path, names]) => {
        const text = textOf(normalize(join(dirname(page), path!)));
        return !names!.split(".").every((name) => new RegExp(`\\b${name}\\b`).test(text));
      })
      .map(([, path, names]) => `${page}: ${path} ${names}`);
  });
  expect(missing).toEqual([]);
});

test("the README is at most 200 lines long", () => {
  expect(textOf(README).trimEnd().split("\n").length).toBeLessThanOrEqual(200);
});

test("every page of docs/ has a table of contents of its sections", () => {
  const pages = [...PAGES.filter((page) => page.startsWith("docs/")), "CONTRIBUTING.md"];
  for (const page of pages) {
    const text = textOf(page);
    expect([page, text.slice(0, text.indexOf("\n## "))]).toEqual([
      page,
      expect.stringContaining(`\n${contentsOf(text)}\n`),
    ]);
  }
});

test("every document is linked from the README", () => {
  const linked = new Set(linksOf(README).map(({ path }) => path));
  const pages = PAGES.filter((page) => !page.endsWith(README)); // A room's own is found in the room.
  expect(pages.filter((page) => !linked.has(page))).toEqual([]);
});

test("the map of the README has every folder with code", () => {
  const linked = new Set(linksOf(README).map(({ path }) => dirnameOfReadme(path)));
  const rooms = new Set(files.filter((file) => file.endsWith(".ts")).map((file) => dirname(file)));
  rooms.delete(".");
  expect([...rooms].filter((room) => !linked.has(room))).toEqual([]);
});

/** A room may be represented by the README that stands in it. */
const dirnameOfReadme = (path: string) => (path.endsWith("/README.md") ? dirname(path) : path);

test("every make target that a document names exists, and docs/operating.md names every target", () => {
  const targetsIn = (text: string) => {
    const code = [...text.matchAll(/`[^`\n]+`|^ *```[\s\S]*?^ *```/gm)].map(([found]) => found);
    const calls = code.flatMap((found) => [...found.matchAll(/\bmake ([a-z]+(?:-[a-z]+)*)/g)]);
    return calls.map(([, target]) => target!);
  };
  const targets = [...textOf("Makefile").matchAll(/^([a-z-]+):.*##/gm)].map(([, name]) => name!);
  const named = PAGES.flatMap((page) => targetsIn(textOf(page)));
  expect([...new Set(named)].filter((target) => !targets.includes(target))).toEqual([]);
  const listed = targetsIn(textOf(OPERATING));
  expect(targets.filter((target) => !listed.includes(target))).toEqual([]);
});

test("every variable of a make command that a document names is known", () => {
  const known = textOf("docs/configuration.md") + textOf("Makefile");
  const named = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/\bmake [a-z][^`\n]*/g)].flatMap(([command]) =>
      [...command.matchAll(/ ([A-Z][A-Z_]+)=/g)].map(([, variable]) => variable!),
    ),
  );
  const unknown = [...new Set(named)].filter(
    (variable) => !new RegExp(`\\b${variable}\\b`).test(known),
  );
  expect(unknown).toEqual([]);
});

test("every gavel command that a document names exists", () => {
  const named = PAGES.flatMap((page) =>
    [...textOf(page).matchAll(/`(?:npx )?gavel ([a-z]+(?:-[a-z]+)*)/g)].map(
      ([, command]) => command!,
    ),
  );
  const known = Object.entries(COMMANDS).flatMap(([name, { alias }]) => [name, alias]);
  expect([...new Set(named)].filter((command) => !known.includes(command))).toEqual([]);
});

test("every metric that a document names is in docs/metrics.md", () => {
  const known = textOf("docs/metrics.md");
  const pages = PAGES.filter((page) => page !== "docs/metrics.md");
  const named = pages.flatMap((page) =>
    [...textOf(page).matchAll(/`(gavel_[a-z_]+[a-z])(?:\{[^`]*)?`/g)].map(([, name]) => name!),
  );
  expect([...new Set(named)].filter((name) => !known.includes(`\`${name}\``))).toEqual([]);
});

test("GLOSSARY.md explains each word once, and says where it lives", () => {
  const [explained] = textOf("GLOSSARY.md").split("## Words that are not used");
  const rows = [...explained!.matchAll(/^\| (?!word |---)(.+) \|$/gm)].map(([, row]) =>
    row!.split(" | "),
  );
  expect(rows.length).toBeGreaterThan(70);
  expect(rows.filter(([, , place]) => !place?.startsWith("[`"))).toEqual([]);
  const words = rows.map(([word]) => word!);
  expect(words.filter((word, index) => words.indexOf(word) !== index)).toEqual([]);
});

test("docs/http-api.md lists every problem code with its status", () => {
  const rows = textOf("docs/http-api.md").matchAll(/^\| (`[a-z_`, ]+) \| ([\d, ]+) \|/gm);
  const listed = [...rows].flatMap(([, codes, statuses]) => {
    const each = statuses!.trim().split(", ").map(Number);
    const names = codes!.replaceAll("`", "").trim().split(", ");
    return names.map((code, i) => [code, each[i] ?? each[0]!]);
  });
  const expected = Object.entries(PROBLEMS).map(([code, { status }]) => [code, status]);
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(expected));
});

/** The test that runs the code blocks of a page. */
const RUN_BY: Readonly<Record<string, string>> = {
  "README.md": "docs.live.test.ts",
  "docs/operating.md": "docs.live.test.ts",
  "docs/http-api.md": "docs.live.test.ts",
  "docs/observability.md": "docs.live.test.ts",
  "docs/kubernetes.md": "docs.cluster.test.ts",
  "docs/backup.md": "operator/local/backup.live.test.ts",
};

test("every command block of the README and of docs/ is run by a test", () => {
  const pages = PAGES.filter((page) => page === README || page.startsWith("docs/"));
  const blocks: CodeBlock[] = pages.flatMap(codeBlocks);
  for (const page of new Set(blocks.map((block) => block.page))) {
    const runner = RUN_BY[page];
    expect([page, runner !== undefined && textOf(runner).includes(page)]).toEqual([page, true]);
  }
});
