import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { plainEnv } from "../services/testing/plain-env.ts";
import { COMMANDS } from "./commands.ts";

const folder = mkdtempSync(join(tmpdir(), "gavel-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function gavel(words: string[], env: Record<string, string> = {}) {
  const main = new URL("./main.ts", import.meta.url).pathname;
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], {
    encoding: "utf8",
    env: plainEnv({ GAVEL_DIR: join(folder, ".gavel"), ...env }),
  });
  return { status, stdout, stderr };
}

test("gavel --help lists every command", () => {
  const { status, stdout } = gavel(["--help"]);
  expect(status).toBe(0);
  for (const { usage, help } of Object.values(COMMANDS)) {
    expect(stdout).toContain(usage);
    expect(stdout).toContain(help);
  }
});

test("a closed pipe does not make a command fail", () => {
  const main = new URL("./main.ts", import.meta.url).pathname;
  const words = ["-c", 'set -o pipefail; "$0" "$1" --help | true', process.execPath, main];
  expect(spawnSync("bash", words, { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
});

test.each([[[]], [["nonsense"]], [["constructor"]], [["down", "now"]], [["token", "a", "b"]]])(
  "gavel %j exits with 2 and the usage",
  (words) => {
    const { status, stdout, stderr } = gavel(words);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("usage: gavel");
  },
);

test("each command answers --help", () => {
  for (const [name, { help }] of Object.entries(COMMANDS)) {
    const { status, stdout } = gavel([name, "--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain(help);
  }
});

test("check is listed once, and verify is its documented alias", () => {
  expect(Object.keys(COMMANDS)).toContain("check");
  expect(Object.keys(COMMANDS)).not.toContain("verify");
  expect(gavel(["--help"]).stdout).toMatch(/^ +check \[options\] .*; alias: verify$/m);
  const [check, verify] = [gavel(["check", "--help"]), gavel(["verify", "--help"])];
  expect(check).toMatchObject({ status: 0, stdout: expect.stringContaining("gavel verify") });
  expect(verify).toEqual(check);
});

test("verify exits like check", () => {
  for (const name of ["check", "verify"]) {
    expect(gavel([name, "--nonsense"])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("usage: gavel check"),
    });
    expect(gavel([name])).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("does not exist: make up"),
    });
  }
});

test("commands on a folder where nothing ever ran say so, and make nothing", () => {
  expect(gavel(["down"])).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("nothing runs"),
  });
  expect(gavel(["status"])).toMatchObject({ status: 3 });
  expect(gavel(["reset"]).stdout).toContain("nothing to delete");
  expect(gavel(["token"])).toMatchObject({ status: 1, stdout: "" });
  expect(gavel(["sql", "select 1"]).stderr).toContain("make up creates one");
});

test("a wrong variable is named", () => {
  const { status, stderr } = gavel(["status"], { GATEWAY_PORT: "eighty" });
  expect(status).toBe(1);
  expect(stderr).toContain("GATEWAY_PORT: must be integer");
});
