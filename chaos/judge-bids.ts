/** Runs `gavel check` on the histories of the load and the archive of the auction. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { readLines } from "../services/runtime/read-lines.ts";
import { readViews } from "../load/in-cluster/views.ts";
import { freePort } from "../servers/ports.ts";
import { encodeRecord } from "../services/lot/checker/history.ts";
import type { AuctionCheck } from "./hypothesis.ts";
import { AUCTION, NAMESPACE } from "./scenario.ts";
import { readSecret } from "./surroundings.ts";
import type { Target } from "./target.ts";
import { waitFor } from "./wait-for.ts";

const CHECK_TIMEOUT_MS = 5 * 60_000;
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
const WRITE_LINES = 2_000;

/** Converts views to a history that the checker reads. @returns its path */
function expand(views: string): string {
  const file = views.replace(/\.txt$/, ".jsonl");
  const descriptor = openSync(file, "w");
  let lines: string[] = [];
  const flush = () => {
    if (lines.length > 0) writeSync(descriptor, `${lines.join("\n")}\n`);
    lines = [];
  };
  for (const record of readViews(readLines(views))) {
    lines.push(encodeRecord(record));
    if (lines.length === WRITE_LINES) flush();
  }
  flush();
  closeSync(descriptor);
  return file;
}

/** @throws Error when the archive cannot be read */
export async function judgeBids(
  target: Target,
  auctionUid: string,
  histories: { readonly bids: string; readonly views: string },
  folder: string,
): Promise<AuctionCheck> {
  const views = expand(histories.views);
  const port = await freePort();
  const child = target.spawn([
    "port-forward",
    "-n",
    NAMESPACE,
    `service/${AUCTION}-postgres`,
    `${port}:5432`,
  ]);
  try {
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    }
    await waitFor("Postgres is forwarded", () => output.includes("Forwarding from"), 20_000, 100);
    const url = new URL(await readSecret(target, `${AUCTION}-postgres`, "uri"));
    url.hostname = "127.0.0.1";
    url.port = String(port);
    const archive = join(folder, "archive-url");
    writeFileSync(archive, url.href, { mode: 0o600 });
    const cli = new URL("../cli/main.ts", import.meta.url).pathname;
    const words = [
      "check",
      "--json",
      "--settled",
      "--auction",
      auctionUid,
      "--archive",
      archive,
      "--history",
      histories.bids,
      "--history",
      views,
    ];
    const node = [process.execPath, "--max-old-space-size=3000", cli, ...words] as const;
    const [program, ...args] = node;
    const { status, stdout, stderr } = spawnSync(program, args, {
      encoding: "utf8",
      timeout: CHECK_TIMEOUT_MS,
      maxBuffer: ANSWER_MAX_BYTES,
    });
    if (status !== 0 && status !== 1) throw new Error(`gavel check: ${status} ${stderr}`);
    const { auctions } = JSON.parse(stdout) as { auctions: AuctionCheck[] };
    return auctions[0]!;
  } finally {
    child.kill();
  }
}
