import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { migrate } from "../../services/archival/postgres/migrate.ts";
import { connectArchive, inTransaction } from "../../services/archival/postgres/connection.ts";
import { insertTogether } from "../../services/archival/postgres/record-batch.ts";
import { encodeRecord, type HistoryRecord } from "../../services/lot/checker/history.ts";
import { randomHistory, seededRandom } from "../../services/lot/checker/random-history.ts";
import { type VerdictName, VERDICTS } from "../../services/lot/checker/verdicts.ts";
import { encodeEvent, type LotEvent } from "../../services/lot/events.ts";
import { afterFile } from "../../services/testing/after-file.ts";
import { auctionDefinition, lotDefinition } from "../../services/testing/auction.ts";
import { createHostileDatabase } from "../../services/testing/hostile-settings.ts";
import { plainEnv } from "../../services/testing/plain-env.ts";
import { startPostgres } from "../../services/testing/servers.ts";
import { runHere } from "../testing/run-here.ts";
import { until } from "../../services/testing/until.ts";

const dir = mkdtempSync(join(tmpdir(), "gavel-check-"));
const postgres = await startPostgres();
const url = await createHostileDatabase(postgres.url);
const archive = connectArchive(
  () => url,
  () => {},
);
afterFile(() => archive.end());
afterFile(() => rmSync(dir, { recursive: true, force: true }));
await until("the archive is there", () => migrate(archive));

const fileOf = (name: string, lines: readonly string[]): string => {
  writeFileSync(join(dir, name), lines.map((line) => `${line}\n`).join(""));
  return join(dir, name);
};
const urlFile = fileOf("postgres-url", [url]);

/** Through a link to the shim, from another folder, as npx runs it. */
const gavel = join(dir, "gavel");
symlinkSync(new URL("../gavel", import.meta.url).pathname, gavel);

const env = { GAVEL_DIR: join(dir, ".gavel") };

const check = (...args: string[]) => runHere(["check", ...args], env);

/** As a process of its own. */
function program(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(gavel, ["check", ...args], {
    encoding: "utf8",
    cwd: dir,
    env: plainEnv(env),
  });
  return { status, stdout, stderr };
}

interface Archived {
  readonly uid: string;
  readonly log: readonly LotEvent[];
  readonly history: readonly HistoryRecord[];
}

let auctions = 0;

/** An auction with what clients saw of it, archived as the archive tier does it. */
async function archived(): Promise<Archived> {
  const shape = { lots: 2, steps: 250, viewers: 2, gapMs: 5, delayMs: 20, lastsMs: 900 };
  const sample = randomHistory(seededRandom(++auctions), {
    ...shape,
    finish: true,
    weights: { withdraw: 0 },
  });
  const uid = randomUUID();
  const own = (text: string) => text.replaceAll(/"bid-(\d+)"/g, `"${uid}-$1"`);
  const log = sample.log.map((event) => JSON.parse(own(JSON.stringify(event))) as LotEvent);
  const history = sample.history.map((one) => JSON.parse(own(encodeRecord(one))) as HistoryRecord);
  const [{ rules, startMinor, reserveMinor }] = sample.terms.values() as Iterable<never> as [never];
  const lots = [...sample.terms.keys()].map((lotId) =>
    lotDefinition(lotId, { startMinor, reserveMinor }),
  );
  const definition = auctionDefinition({
    uid,
    rules,
    lots,
  });
  const { name, title, currency, minorUnitDigits } = definition;
  await archive.query(
    `insert into public.auctions (auction_uid, name, title, currency, minor_unit_digits, rules)
     values ($1, $2, $3, $4, $5, $6)`,
    [uid, name, title, currency, minorUnitDigits, JSON.stringify(definition)],
  );
  const entries = log.map((event, at) => {
    const [body, outboxId] = [encodeEvent(event), `1-${at + 1}`];
    const bytes = Buffer.from(body);
    return { outboxId, lotId: event.lotId, events: [{ event, body, outboxId }], bytes };
  });
  await inTransaction(archive, (session) => insertTogether(session, uid, entries));
  return { uid, log, history };
}

const files = (histories: readonly HistoryRecord[]) =>
  fileOf(`${randomUUID()}.jsonl`, histories.map(encodeRecord));

describe("gavel check", () => {
  test("says that a right archive holds, and what it counted", async () => {
    const { uid, log } = await archived();
    const bids = log.filter(({ type }) => type === "bid_accepted").length;
    const { status, stdout } = await check("--archive", urlFile, "--auction", uid, "--ended");
    expect([status, stdout]).toEqual([0, expect.stringContaining("\nholds\n")]);
    expect(stdout).toContain(`2 lots, ${log.length} events, ${bids} bids`);
  });

  test("the program prints what the command prints, and exits with its code", async () => {
    const { uid, log } = await archived();
    const wrong = fileOf("gap.jsonl", log.toSpliced(4, 1).map(encodeEvent));
    const cases: [words: string[], code: number][] = [
      [["--archive", urlFile, "--auction", uid, "--ended"], 0],
      [["--events", wrong], 1],
      [["--nonsense"], 2],
      [["--archive", "/nowhere"], 3],
    ];
    for (const [words, code] of cases) {
      const ended = program(...words);
      expect([words, ended.status]).toEqual([words, code]);
      expect(ended).toEqual(await check(...words));
    }
  });

  test("says that a right history holds with it, of all lots and of one, as JSON", async () => {
    const { uid, history } = await archived();
    const words = ["--archive", urlFile, "--auction", uid, "--settled", "--json"];
    const all = await check(...words, "--history", files(history));
    expect([all.status, all.stderr]).toEqual([0, ""]);
    const { holds, auctions } = JSON.parse(all.stdout);
    expect(holds).toBe(true);
    expect(auctions[0]).toMatchObject({
      auctionUid: uid,
      verdicts: [],
      counts: { lots: 2, records: history.length, lost: 0, viewers: 2, viewersComplete: 2 },
    });
    const one = await check(...words, "--lot", "lot-1", "--history", files(history));
    expect([one.status, JSON.parse(one.stdout).auctions[0].counts.lots]).toEqual([0, 1]);
  });

  test("takes several histories, and finds in them what the archive lacks", async () => {
    const { uid, history } = await archived();
    const half = history.length >> 1;
    const [first, second] = [files(history.slice(0, half)), files(history.slice(half))];
    const words = ["--archive", urlFile, "--auction", uid];
    expect((await check(...words, "--history", first, "--history", second)).status).toBe(0);
    expect((await check(...words, "--history", first, second)).status).toBe(0);
    // Half of what was sent leaves phantoms, unless one says that it is a part.
    const { status, stdout } = await check(...words, "--history", first);
    expect([status, stdout]).toEqual([1, expect.stringMatching(/^phantom: /m)]);
    expect((await check(...words, "--history", first, "--partial")).status).toBe(0);
  });

  const newest = (table: string) =>
    `(auction_uid, lot_id, seq) = (select auction_uid, lot_id, max(seq) from public.${table}
      where auction_uid = $1 and lot_id = 'lot-1' group by 1, 2)`;
  const CORRUPTIONS: [VerdictName, sql: string][] = [
    [
      "lost",
      "delete from public.events where auction_uid = $1 and seq > 9 and type = 'bid_accepted'",
    ],
    ["seq_gap", "delete from public.events where auction_uid = $1 and seq = 3"],
    [
      "bids_differ",
      `update public.bids set amount_minor = amount_minor + 1 where ${newest("bids")}`,
    ],
    ["bids_differ", `delete from public.bids where ${newest("bids")}`],
    ["row_differs", `update public.events set at = at + interval '1 ms' where ${newest("bids")}`],
    ["row_differs", `update public.events set body = 'x' where ${newest("bids")}`],
    [
      "below_minimum",
      `update public.events set body = regexp_replace(body, '"amountMinor":[0-9]+', '"amountMinor":1')
       where ${newest("bids")}`,
    ],
    [
      "results_differ",
      `update public.results set bidder_id = 'mallory' where ${newest("results")}`,
    ],
    ["lots_differ", "update public.lots set bid_count = bid_count + 1 where auction_uid = $1"],
    [
      "dead_letter",
      `insert into public.dead_letters (auction_uid, partition, reason, detail, outbox_id, body)
       values ($1, 0, 'lost', 'a gap', '1-0', '')`,
    ],
  ];

  test.each(CORRUPTIONS)("exits with 1 and says %s after: %s", async (verdict, sql) => {
    const { uid, history } = await archived();
    const { rowCount } = await archive.query(sql, [uid]);
    expect(rowCount).toBeGreaterThan(0);
    const words = ["--archive", urlFile, "--auction", uid, "--history", files(history), "--json"];
    const { status, stdout } = await check(...words);
    const { holds, auctions } = JSON.parse(stdout);
    expect([status, holds]).toEqual([1, false]);
    const found = auctions[0].verdicts.map((one: { verdict: string }) => one.verdict);
    expect(found).toContain(verdict);
  });

  test("judges a file of events without any archive", async () => {
    const { log, history } = await archived();
    const right = fileOf("events.jsonl", log.map(encodeEvent));
    expect((await check("--events", right, "--history", files(history))).status).toBe(0);
    const wrong = fileOf("wrong.jsonl", log.toSpliced(4, 1).map(encodeEvent));
    expect(await check("--events", wrong)).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^seq_gap: /m),
    });
  });

  test("of an archive with many auctions judges all, or with a history the latest", async () => {
    const { history } = await archived();
    const { status, stdout } = await check("--archive", urlFile, "--json");
    expect(status).toBe(1); // of the corruptions above
    expect(JSON.parse(stdout).auctions).toHaveLength(auctions);
    expect((await check("--archive", urlFile, "--history", files(history))).status).toBe(0);
  });

  test.each([
    [["--nonsense"], /Unknown option/],
    [["file.jsonl"], /comes after --history/],
    [["--archive", "a", "--events", "b"], /only one of them/],
    [["--events", "a", "--auction", "b"], /--auction is for an archive/],
    [["--partial"], /--history/],
    [["--settled"], /--history/],
  ])("exits with 2 and its usage for %j", async (words, why) => {
    const { status, stdout, stderr } = await check(...words);
    expect([status, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(why);
    expect(stderr).toContain("usage: gavel check");
  });

  test("exits with 3 for what cannot be read, and says what it is", async () => {
    const { uid } = await archived();
    const bad = fileOf("bad.jsonl", ["", '{"op":"read"}']);
    const nowhere = fileOf("nowhere", ["postgres://gavel@127.0.0.1:1/gavel"]);
    const cases: [words: string[], why: RegExp][] = [
      [[], /\.gavel\/connections\/postgres-url does not exist: make up/],
      [["--archive", "/nowhere"], /nowhere does not exist/],
      [["--archive", nowhere], /ECONNREFUSED/],
      [["--archive", urlFile, "--auction", "none"], /no auction none/],
      [["--archive", urlFile, "--auction", uid, "--lot", "none"], /no lot none/],
      [["--archive", urlFile, "--history", "/nowhere"], /nowhere: .*ENOENT/],
      [["--archive", urlFile, "--history", bad], /bad\.jsonl: line 2: read: bad lotId/],
      [["--events", bad], /bad\.jsonl: line 2: unknown event type/],
    ];
    for (const [words, why] of cases) {
      const { status, stderr } = await check(...words);
      expect([words, status, stderr]).toEqual([words, 3, expect.stringMatching(why)]);
    }
  });

  test("--help names every verdict and exit code", async () => {
    const { status, stdout } = await check("--help");
    expect(status).toBe(0);
    for (const [name, meaning] of Object.entries(VERDICTS)) {
      expect(stdout).toMatch(new RegExp(`^ +${name} +${meaning}$`, "m"));
    }
    for (const code of [0, 1, 2, 3]) expect(stdout).toMatch(new RegExp(`^ +${code} +\\S`, "m"));
  });
});
