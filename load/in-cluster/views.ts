/**
 * A compact history of many viewers: the text of a frame is stored once for all viewers that received it. A line is
 * `D <id> <text>` (a text), `F <viewer> <connection> <atMs> <id>` (a viewer received it) or
 * `C <viewer> <connection> <since as JSON>` (a viewer connected), in order.
 */
import type { HistoryRecord } from "../../services/lot/checker/history.ts";
import type { Recorder } from "../recorder.ts";

/** Number of recent texts that are recognised: an event reaches all viewers within a short time. */
const KNOWN_MAX = 2_000;

export class ViewsWriter {
  readonly #recorder: Recorder;
  readonly #known = new Map<string, number>();
  #ids = 0;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  frame(viewer: number, connection: number, atMs: number, text: string): void {
    let id = this.#known.get(text);
    if (id === undefined) {
      id = ++this.#ids;
      this.#known.set(text, id);
      if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value!);
      this.#recorder.line(`D ${id} ${text}`);
    }
    this.#recorder.line(`F ${viewer} ${connection} ${atMs} ${id}`);
  }

  connected(viewer: number, connection: number, since: object | null): void {
    this.#recorder.line(`C ${viewer} ${connection} ${JSON.stringify(since)}`);
  }
}

/** Expands it to a history. @throws Error for an invalid line */
export function* readViews(lines: Iterable<string>): Generator<HistoryRecord> {
  const texts = new Map<number, unknown>();
  for (const line of lines) {
    if (line === "") continue;
    const [kind, a, b, c] = line.split(" ", 4);
    if (kind === "D") {
      texts.set(Number(a), JSON.parse(line.slice(3 + a!.length)));
    } else if (kind === "C") {
      const since = JSON.parse(line.slice(4 + a!.length + b!.length)) as never;
      yield { op: "connected", viewer: Number(a), connection: Number(b), since };
    } else if (kind === "F") {
      const id = Number(line.slice(line.lastIndexOf(" ") + 1));
      const frame = texts.get(id) as { type: string } | undefined;
      if (frame === undefined) throw new Error(`no text ${id}`);
      yield { op: "frame", viewer: Number(a), connection: Number(b), atMs: Number(c), frame };
    } else throw new Error(`not a line of views: ${line.slice(0, 100)}`);
  }
}
