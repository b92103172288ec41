import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { GENERATED } from "./generated.ts";

test.each(GENERATED)("$path matches its source (make generate writes it)", ({ path, text }) => {
  expect(readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")).toBe(text());
});
