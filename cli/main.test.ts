import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { plainEnv } from "../services/testing/plain-env.ts";
import { COMMANDS } from "./commands.ts";
import { runHere } from "./testing/run-here.ts";

const folder = mkdtempSync(join(tmpdir(), "gavel-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const GAVEL_DIR = join(folder, ".gavel");
const main = new URL("./main.ts", import.meta.url).pathname;

const gavel = (words: readonly string[], env: Record<string, string> = {}) =>
  runHere(words, { GAVEL_DIR, ...env });

/** As a process of its own. */
function program(words: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...words], {
    encoding: "utf8",
    env: plainEnv({ GAVEL_DIR, ...env }),
  });
  return { status, stdout, stderr };
}

test.each([
  [["--help"], 0],
  [["nonsense"], 2],
  [["down"], 0],
  [["sql", "select 1"], 1],
  [["check"], 3],
])("the program gavel %j prints what the command prints and exits with %i", async (words, code) => {
  const ended = program(words);
  expect(ended.status).toBe(code);
  expect(ended).toEqual(await gavel(words));
});

test("gavel --help lists every command", async () => {
  const { status, stdout } = await gavel(["--help"]);
  expect(status).toBe(0);
  for (const { usage, help } of Object.values(COMMANDS)) {
    expect(stdout).toContain(usage);
    expect(stdout).toContain(help);
  }
});

test("a closed pipe does not make a command fail", () => {
  const words = ["-c", 'set -o pipefail; "$0" "$1" --help | true', process.execPath, main];
  expect(spawnSync("bash", words, { encoding: "utf8" })).toMatchObject({ status: 0, stderr: "" });
});

test.each([[[]], [["nonsense"]], [["constructor"]], [["down", "now"]], [["token", "a", "b"]]])(
  "gavel %j exits with 2 and the usage",
  async (words) => {
    const { status, stdout, stderr } = await gavel(words);
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("usage: gavel");
  },
);

test("each command answers --help", async () => {
  for (const [name, { help }] of Object.entries(COMMANDS)) {
    const { status, stdout } = await gavel([name, "--help"]);
    expect(status).toBe(0);
    expect(stdout).toContain(help);
  }
});

test("check is listed once, and verify is its documented alias", async () => {
  expect(Object.keys(COMMANDS)).toContain("check");
  expect(Object.keys(COMMANDS)).not.toContain("verify");
  expect((await gavel(["--help"])).stdout).toMatch(/^ +check \[options\] .*; alias: verify$/m);
  const check = await gavel(["check", "--help"]);
  const verify = await gavel(["verify", "--help"]);
  expect(check).toMatchObject({ status: 0, stdout: expect.stringContaining("gavel verify") });
  expect(verify).toEqual(check);
});

test("verify exits like check", async () => {
  for (const name of ["check", "verify"]) {
    expect(await gavel([name, "--nonsense"])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("usage: gavel check"),
    });
    expect(await gavel([name])).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("does not exist: make up"),
    });
  }
});

test("commands on a folder where nothing ever ran say so, and make nothing", async () => {
  expect(await gavel(["down"])).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("nothing runs"),
  });
  expect(await gavel(["status"])).toMatchObject({ status: 3 });
  expect((await gavel(["reset"])).stdout).toContain("nothing to delete");
  expect(await gavel(["token"])).toMatchObject({ status: 1, stdout: "" });
  expect((await gavel(["sql", "select 1"])).stderr).toContain("make up creates one");
});

test("capacity prints the budget of an Auction or of options, and refuses invalid arguments", async () => {
  const file = "manifests/samples/spring-sale.yaml";
  const ofFile = await gavel(["capacity", fileURLToPath(new URL(`../${file}`, import.meta.url))]);
  expect(ofFile).toMatchObject({ status: 0, stdout: expect.stringMatching(/maxmemory +\d+/) });
  const busy = await gavel(["capacity", "--rate", "20000", "--lots", "10"]);
  expect(busy.stdout).toContain("idempotency keys  6144000000");
  expect(await gavel(["capacity", "--rate", "many"])).toMatchObject({ status: 2 });
  expect(await gavel(["capacity", "no-such.yaml"])).toMatchObject({ status: 2 });
  expect(await gavel(["capacity", "--running"])).toMatchObject({ status: 3 });
});

test("a wrong variable is named", async () => {
  const { status, stderr } = await gavel(["status"], { GATEWAY_PORT: "eighty" });
  expect(status).toBe(1);
  expect(stderr).toContain("GATEWAY_PORT: must be integer");
});
