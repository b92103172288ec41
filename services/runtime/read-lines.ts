import { closeSync, openSync, readSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";

const CHUNK_BYTES = 1024 * 1024;
/** Longer than any line we write. Limits the memory for a file without line ends. */
const LINE_MAX_CHARACTERS = 16 * 1024 * 1024;

/** Yields the lines of a file that may be larger than memory. @throws Error when it cannot be read */
export function* readLines(path: string): Generator<string> {
  const file = openSync(path, "r");
  try {
    const decoder = new StringDecoder("utf8");
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest = "";
    for (;;) {
      const bytes = readSync(file, chunk);
      if (bytes === 0) break;
      const lines = (rest + decoder.write(chunk.subarray(0, bytes))).split("\n");
      rest = lines.pop()!;
      if (rest.length > LINE_MAX_CHARACTERS) throw new Error("a line is too long");
      yield* lines;
    }
    rest += decoder.end();
    if (rest !== "") yield rest;
  } finally {
    closeSync(file);
  }
}
