/** Writes the history of a load process line by line, with bounded memory. */
import { closeSync, openSync, writeSync } from "node:fs";
import { encodeRecord, type HistoryRecord } from "../services/lot/checker/history.ts";

const BUFFER_CHARACTERS = 256 * 1024;

/** The clock of all records: monotonic, and the same for all processes of this machine. */
export function nowMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}

export class Recorder {
  readonly #file: number;
  #text = "";

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  write(record: HistoryRecord): void {
    this.line(encodeRecord(record));
  }

  /** Writes a record that is already encoded. */
  line(text: string): void {
    this.#text += `${text}\n`;
    if (this.#text.length > BUFFER_CHARACTERS) this.flush();
  }

  flush(): void {
    writeSync(this.#file, this.#text);
    this.#text = "";
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}
