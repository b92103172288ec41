import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { Recorder } from "../recorder.ts";
import { readViews, ViewsWriter } from "./views.ts";

const folder = mkdtempSync(join(tmpdir(), "gavel-views-"));
afterFile(() => rmSync(folder, { recursive: true, force: true }));

test("the frames of many viewers are read in their order, and each text is stored once", () => {
  const file = join(folder, "views.txt");
  const recorder = new Recorder(file);
  const views = new ViewsWriter(recorder);
  const text = (seq: number) =>
    JSON.stringify({ type: "bid_accepted", lotId: "lot-1", seq, bidderId: "with spaces, 1 2" });
  views.connected(0, 1, null);
  views.connected(1, 1, { "lot-1": { epoch: 1, seq: 4 } });
  for (const seq of [5, 6]) {
    for (const viewer of [0, 1]) views.frame(viewer, 1, 1000.125 + seq, text(seq));
  }
  recorder.close();
  const lines = readFileSync(file, "utf8").split("\n");
  expect(lines.filter((line) => line.startsWith("D "))).toHaveLength(2);
  const frame = (viewer: number, seq: number) => ({
    op: "frame",
    viewer,
    connection: 1,
    atMs: 1000.125 + seq,
    frame: JSON.parse(text(seq)) as object,
  });
  expect([...readViews(lines)]).toEqual([
    { op: "connected", viewer: 0, connection: 1, since: null },
    { op: "connected", viewer: 1, connection: 1, since: { "lot-1": { epoch: 1, seq: 4 } } },
    frame(0, 5),
    frame(1, 5),
    frame(0, 6),
    frame(1, 6),
  ]);
});

test("an invalid line, or one with an unknown reference, throws", () => {
  expect(() => [...readViews(["F 0 1 5 9"])]).toThrow(/no text 9/);
  expect(() => [...readViews(["what"])]).toThrow(/not a line of views/);
});
