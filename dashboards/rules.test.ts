/** The rules, judged by Prometheus's own promtool. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { findProgram } from "../servers/find-program.ts";
import { CASES } from "./alert-cases.ts";
import { ALERTS } from "./alerts.ts";
import { GROUPS, RUNBOOK } from "./rule-files.ts";

const promtool = findProgram("promtool");
const run = promisify(execFile);
const check = (...words: string[]) =>
  run(promtool!, words, { cwd: import.meta.dirname, timeout: 240_000 });

test.skipIf(promtool === null)("promtool finds nothing wrong with the rules", async () => {
  const { stdout } = await check("check", "rules", "alerts.yaml");
  expect(stdout).toContain(`SUCCESS: ${GROUPS.flatMap(({ rules }) => rules).length} rules found`);
});

test.skipIf(promtool === null).each(["alerts.test.yaml", "slowly.test.yaml"])(
  "each alert fires where it should and nowhere else: %s (needs promtool)",
  async (file) => {
    const { stdout } = await check("test", "rules", file);
    expect(stdout).toContain("SUCCESS");
  },
  240_000,
);

test("each alert has cases, and each case an alert", () => {
  expect(Object.keys(CASES).sort()).toEqual(ALERTS.map(({ name }) => name).sort());
});

test("each alert's runbook is a section that is there, with what to look at and what to do", () => {
  const runbook = readFileSync(new URL(RUNBOOK, import.meta.url), "utf8");
  const sections = new Map(
    runbook.split(/^## /m).map((text) => {
      const [heading = "", ...body] = text.split("\n");
      return [heading.toLowerCase(), body.join("\n")];
    }),
  );
  for (const { rules } of GROUPS) {
    for (const rule of rules) {
      if (!("alert" in rule)) continue;
      const [file, anchor] = rule.annotations["runbook_url"]!.split("#");
      expect(file).toBe(RUNBOOK);
      for (const part of ["**It means.**", "**Look at.**", "**Do.**"]) {
        expect([rule.alert, sections.get(anchor!)]).toEqual([
          rule.alert,
          expect.stringContaining(part),
        ]);
      }
    }
  }
});
