/** Runs the commands of docs/backup.md exactly as the page shows them. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { UpSandbox } from "../testing/up-sandbox.ts";
import { until } from "../../services/testing/until.ts";

const REPOSITORY = new URL("../../", import.meta.url).pathname;
const [BACK_UP, START_FROM_IT] = [
  ...readFileSync(new URL("../../docs/backup.md", import.meta.url), "utf8").matchAll(
    /```sh\n([^`]+)```/g,
  ),
].map(([, commands]) => commands!);

function run(commands: string, sandbox: UpSandbox, backup: string): void {
  const { status, stdout, stderr } = spawnSync("sh", ["-eu", "-c", commands], {
    cwd: REPOSITORY,
    encoding: "utf8",
    env: { ...process.env, ...sandbox.env, BACKUP: backup, YES: "1" },
    timeout: 120_000,
  });
  expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
}

const lotsOf = async (sandbox: UpSandbox) =>
  ((await (await fetch(`${sandbox.gatewayUrl}/v1/lots`)).json()) as { lots: { epoch: number }[] })
    .lots;

const ROWS = "select count(*), sum(amount_minor), max(bid_id) from bids";

test("an empty machine started from a dump of the archive has every bid, and the check passes there", async () => {
  const first = await UpSandbox.create();
  const backup = join(first.root, "backup");
  mkdirSync(backup);
  const running = first.up(join(REPOSITORY, "manifests/samples/spring-sale.yaml"));
  await first.ready(running);
  for (let n = 0; n < 5; n++) {
    expect((await first.bid("oak-table", 20_000 + n * 5_000, `bidder-${n}`)).status).toBe(201);
    expect((await first.bid("blue-vase", 900_000 + n * 100_000, `bidder-${n}`)).status).toBe(201);
  }
  await until(
    "all is archived",
    async () => (await first.query("select 1 from bids")).length === 10,
  );
  run(BACK_UP!, first, backup);
  const before = { lots: await lotsOf(first), rows: first.gavel(["sql"], { Q: ROWS }).stdout };
  expect(first.gavel(["down"]).status).toBe(0);
  await running.ended;

  const second = await UpSandbox.create();
  run(START_FROM_IT!, second, backup);
  expect(second.gavel(["sql"], { Q: ROWS }).stdout).toBe(before.rows);
  const lots = await lotsOf(second);
  expect(lots.every(({ epoch }) => epoch >= 2)).toBe(true);
  expect(lots.map((lot) => ({ ...lot, epoch: 0 }))).toEqual(
    before.lots.map((lot) => ({ ...lot, epoch: 0 })),
  );
  const { uid } = second.folder.recorded("spring-sale")!;
  const verified = second.gavel(["verify", "--auction", uid]);
  expect([verified.status, verified.status === 0 ? "" : verified.stdout]).toEqual([0, ""]);
  expect((await second.bid("oak-table", 500_000, "late")).status).toBe(201);
  second.gavel(["down"]);
}, 180_000);
