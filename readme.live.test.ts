/** What the README shows is what happens: its commands are run as they stand, on ports of the test. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { UpSandbox } from "./operator/testing/up-sandbox.ts";
import { PROBLEMS } from "./services/access/problems.ts";
import { plainEnv } from "./services/testing/plain-env.ts";
import { until } from "./services/testing/until.ts";

const readme = readFileSync("README.md", "utf8");
const makefile = readFileSync("Makefile", "utf8");

/** The code blocks of a language under a heading. */
function blocks(heading: string, language: string): string[] {
  const section = readme.split(/\n## /).find((text) => text.startsWith(heading));
  if (!section) throw new Error(`the README has no section ${heading}`);
  const found = section.matchAll(new RegExp("```" + language + "\\n([\\s\\S]*?)```", "g"));
  return [...found].map(([, text]) => text!);
}

test("the three examples work as they are printed", { timeout: 240_000 }, async () => {
  const sandbox = await UpSandbox.create();
  const env = plainEnv({ ...sandbox.env });
  const here = (text: string) =>
    text
      .replaceAll("localhost:8080", `localhost:${sandbox.env["GATEWAY_PORT"]}`)
      .replaceAll("localhost:8081", `localhost:${sandbox.env["BROADCAST_PORT"]}`);
  const shell = (text: string) =>
    spawnSync("bash", ["--norc", "-euc", here(text)], { env, encoding: "utf8", timeout: 240_000 });

  const [up] = blocks("Two commands", "sh");
  const started = shell(up!.trim() + " DETACH=1");
  expect([started.status, started.stderr]).toEqual([0, ""]);
  expect(started.stdout).toContain("Spring sale: 5 lots, open");

  const [viewer] = blocks("Three examples", "js");
  const watching = spawn(process.execPath, ["--eval", here(viewer!)], { env });
  let seen = "";
  watching.stdout.on("data", (chunk: Buffer) => (seen += chunk.toString()));
  await until("the viewer has its snapshot", () => seen.includes('"snapshot"'));

  const [bid, sql] = blocks("Three examples", "sh");
  // A machine that is busy with other tests may answer 503: send it again, as the README says.
  const bidId = await until("the bid is accepted", () => {
    const { bidId: accepted, amountMinor } = JSON.parse(shell(bid!).stdout) as Record<
      string,
      unknown
    >;
    return amountMinor === 12_500 ? accepted : null;
  });
  await until("the viewer sees the bid", () => seen.includes(String(bidId)));
  watching.kill();
  await until("the archive holds it", () =>
    /oak-table\s+2\s+alice\s+12500/.test(shell(sql!).stdout),
  );
  expect(shell("make down").status).toBe(0);
});

test("every make target that the README names exists, and every target is named there", () => {
  const named = new Set(
    [...readme.matchAll(/\bmake ([a-z]+(?:-[a-z]+)*)/g)].map(([, target]) => target!),
  );
  const targets = new Set([...makefile.matchAll(/^([a-z-]+):.*##/gm)].map(([, target]) => target!));
  const missing = [...named].filter((target) => !targets.has(target));
  expect(missing).toEqual([]);
  const unnamed = [...targets].filter((target) => !named.has(target));
  expect(unnamed).toEqual([]);
});

test("every link leads to a file, and every problem code is explained", () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path!);
  expect(links.filter((path) => !existsSync(path))).toEqual([]);
  const unexplained = Object.keys(PROBLEMS).filter((code) => !readme.includes(`\`${code}\``));
  expect(unexplained).toEqual([]);
});

test("every folder of the services has its place on the map", () => {
  const tracked = spawnSync("git", ["ls-files"], { encoding: "utf8" }).stdout.split("\n");
  const rooms = new Set(
    tracked.filter((path) => path.startsWith("services/")).map((path) => path.split("/")[1]!),
  );
  const folders = [...rooms].filter((room) => !room.includes("."));
  expect(folders.filter((room) => !readme.includes(`](services/${room})`))).toEqual([]);
});
