/** The Markdown documents of this repository, for the tests that hold them to the code. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../", import.meta.url);

/** The root of the repository. */
export const ROOT_DIR = fileURLToPath(ROOT);

/** Every file of the repository, as git knows it; new files that are not added yet included. */
export function trackedFiles(): string[] {
  const words = ["ls-files", "--cached", "--others", "--exclude-standard"];
  const { stdout } = spawnSync("git", words, { cwd: ROOT_DIR, encoding: "utf8" });
  return stdout.split("\n").filter(Boolean);
}

/** @param path from the root of the repository */
export const textOf = (path: string): string => readFileSync(new URL(path, ROOT), "utf8");

export interface CodeBlock {
  /** The page, from the root of the repository. */
  readonly page: string;
  /** The second-level heading that it stands under. */
  readonly section: string;
  readonly language: string;
  readonly text: string;
}

/** The code blocks of a page that name their language, in their order. */
export function codeBlocks(page: string): CodeBlock[] {
  const [, ...sections] = `\n${textOf(page)}`.split("\n## ");
  return sections.flatMap((part) => {
    const section = part.slice(0, part.indexOf("\n"));
    const blocks = part.matchAll(/^( *)```(\w+)\n([\s\S]*?)^ *```/gm);
    return [...blocks].map(([, indent, language, text]) => {
      const plain = text!.replaceAll(new RegExp(`^${indent}`, "gm"), "");
      return { page, section, language: language!, text: plain };
    });
  });
}
