/** The sources of this repository as the house rules read them: parsed once, with imports, exports and functions. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { parseSync } from "vite";

interface Import {
  /** Path in the repository, or the name of a package. */
  readonly from: string;
  readonly typeOnly: boolean;
  /** Names taken from it; "*" for all of them. */
  readonly names: readonly string[];
}

interface SourceFunction {
  /** Its name, or that of the variable or property that holds it; "(anonymous)" without one. */
  readonly name: string;
  readonly firstLine: number;
  readonly lines: number;
}

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
  readonly exports: readonly string[];
  readonly functions: readonly SourceFunction[];
  /** Lines that spread a literal: `...{ a }`, `...[b]`. */
  readonly spreadLiterals: readonly number[];
}

/** Every file that git tracks or would track, generated reports left out. */
export function listFiles(): string[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard"];
  const files = execFileSync("git", args, { encoding: "utf8" }).trim().split("\n");
  return files.filter((path) => !path.startsWith("chaos/reports/") && existsSync(path));
}

export const isTest = (path: string): boolean =>
  path.endsWith(".test.ts") || /^(services|operator)\/testing\//.test(path);

export function readSources(paths: readonly string[]): SourceFile[] {
  return paths
    .filter((path) => /\.(ts|js)$/.test(path))
    .map((path) => parseSource(path, readFileSync(path, "utf8")));
}

/** @throws Error where the file is not valid TypeScript */
export function parseSource(path: string, text: string): SourceFile {
  const { module, program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`);
  const resolve = (from: string) =>
    from.startsWith(".") ? normalize(join(dirname(path), from)) : from;
  const imports: Import[] = module.staticImports.map(({ moduleRequest, entries }) => ({
    from: resolve(moduleRequest.value),
    typeOnly: entries.length > 0 && entries.every(({ isType }) => isType),
    names: entries.map(({ importName: { kind, name } }) =>
      kind === "Name" ? name! : kind === "Default" ? "default" : "*",
    ),
  }));
  const exports: string[] = [];
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest, importName, exportName, isType } of entries) {
      if (exportName.name !== null) exports.push(exportName.name);
      if (moduleRequest === null) continue;
      const names = [importName.kind === "Name" ? importName.name! : "*"];
      imports.push({ from: resolve(moduleRequest.value), typeOnly: isType, names });
    }
  }
  for (const [, from] of text.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g)) {
    imports.push({ from: resolve(from!), typeOnly: false, names: ["*"] });
  }
  return { path, text, imports, exports, ...readTree(program as unknown as Node, text) };
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);
const LITERALS = new Set(["ArrayExpression", "ObjectExpression"]);

function readTree(program: Node, text: string): Pick<SourceFile, "functions" | "spreadLiterals"> {
  const functions: SourceFunction[] = [];
  const spreadLiterals: number[] = [];
  const lineOf = (offset: number) => text.slice(0, offset).split("\n").length;
  const visit = (node: Node, name: string) => {
    const own = nameOf(node) ?? name;
    const isFunction = FUNCTIONS.has(node.type) && isNode(node["body"]);
    if (isFunction) {
      const firstLine = lineOf(node.start);
      functions.push({ name: own, firstLine, lines: lineOf(node.end) - firstLine + 1 });
    }
    if (
      node.type === "SpreadElement" &&
      LITERALS.has(withoutWrapping(node["argument"] as Node).type)
    ) {
      spreadLiterals.push(lineOf(node.start));
    }
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (isNode(child)) visit(child, isFunction ? "(anonymous)" : own);
      }
    }
  };
  visit(program, "(anonymous)");
  return { functions, spreadLiterals };
}

/** The expression inside parentheses and `as`. */
function withoutWrapping(node: Node): Node {
  const isWrapping = node.type === "ParenthesizedExpression" || node.type === "TSAsExpression";
  return isWrapping ? withoutWrapping(node["expression"] as Node) : node;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Node).type === "string";

function nameOf(node: Node): string | null {
  const named = node["id"] ?? node["key"];
  if (!isNode(named) || typeof named["name"] !== "string") return null;
  return named["name"];
}
