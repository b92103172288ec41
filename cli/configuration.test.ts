import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { configurationText } from "./configuration.ts";

test("services/CONFIGURATION.md is what the config schemas say (make generate writes it)", () => {
  const written = readFileSync(new URL("../services/CONFIGURATION.md", import.meta.url), "utf8");
  expect(written).toBe(configurationText());
});
