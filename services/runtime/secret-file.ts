import { readFileSync } from "node:fs";

/** A secret that is mounted as a file: its text without the surrounding white space. */
export function readSecretFile(path: string): string {
  const text = readFileSync(path, "utf8").trim();
  if (text === "") throw new Error(`${path} is empty`);
  return text;
}
