import { expect, test } from "vitest";
import { consumerNameOf, streamNameOf, subjectOf, subjectsOf } from "./subjects.ts";

test("a lot's events have a subject of their own within the auction's stream", () => {
  expect(streamNameOf("u-1")).toBe("GAVEL_u-1");
  expect(subjectOf("u-1", 0, "lot-1")).toBe("gavel.u-1.events.0.lot-1");
  expect(subjectsOf("u-1")).toBe("gavel.u-1.events.*.*");
  expect(subjectsOf("u-1", 3)).toBe("gavel.u-1.events.3.*");
  expect(consumerNameOf(0)).toBe("archive-0");
});

test("nothing that has a meaning in a subject gets into one", () => {
  for (const word of ["", "a.b", "*", ">", "a b", "ü", "a\n", "x".repeat(65)]) {
    expect(() => subjectOf("u-1", 0, word)).toThrow(/not usable/);
    expect(() => streamNameOf(word)).toThrow(/not usable/);
  }
});
