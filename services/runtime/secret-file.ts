import { readFileSync } from "node:fs";

/** Reads a secret that is mounted as a file; surrounding white space is removed. */
export function readSecretFile(path: string): string {
  const text = readFileSync(path, "utf8").trim();
  if (text === "") throw new Error(`${path} is empty`);
  return text;
}
