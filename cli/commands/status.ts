import { existsSync } from "node:fs";
import { readArchivalState } from "../../operator/local/archival.ts";
import { STORES } from "../../operator/api/components.ts";
import { readRun, type RunRecord } from "../../operator/local/run-record.ts";
import { isStoreReady } from "../../operator/local/stores.ts";
import { readinessOf } from "../../operator/local/tiers.ts";
import { isUnavailable } from "../../services/access/error-class.ts";
import { printMajor } from "../../services/lot/money.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { LotView } from "../../services/lot/view.ts";
import type { Invocation } from "../command.ts";
import { tableOf } from "../output/table.ts";

const TIMEOUT_MS = 3_000;

/** Prints the state of this folder's run. Exit code 0 when every process works. */
export async function status({ folder, terminal }: Invocation): Promise<number> {
  const run = readRun(folder);
  if (run === null) {
    terminal.say(`nothing runs from ${folder.path}; start it with make up`);
    return 3; // LSB: "program is not running"
  }
  const { endpoints, auction } = run;
  const name = auction === null ? "an auction that is starting" : `${auction.name} ${auction.uid}`;
  terminal.say(`${name}, run by pid ${run.pid} from ${folder.path}\n`);

  const tiers = await Promise.all(
    endpoints.processes.map(async ({ name: process, internal }) => {
      const readiness = await readinessOf(internal);
      return { ok: readiness.ready, row: [process, readiness.ready ? "ready" : readiness.reason] };
    }),
  );
  const stores = await Promise.all(
    STORES.map(async (store) => {
      const ok = await isStoreReady(
        store,
        run.storePorts[store],
        existsSync(folder.passwordFile(store)) ? readSecretFile(folder.passwordFile(store)) : null,
      );
      return { ok, row: [store, ok ? "answers" : "does not answer"] };
    }),
  );
  const processes = [...tiers, ...stores];
  terminal.say(
    tableOf(
      ["process", "state"],
      processes.map(({ row }) => row),
    ),
  );
  terminal.say(`\n${await archiveText(run)}\n`);
  terminal.say(await lotsText(run));
  terminal.say(`\ngateway  ${endpoints.gateway}\nstream   ${endpoints.stream}`);
  terminal.say(`health   ${endpoints.processes.map(({ internal }) => internal).join("  ")}`);
  return processes.every(({ ok }) => ok) ? 0 : 1;
}

async function archiveText({ endpoints }: RunRecord): Promise<string> {
  const state = await readArchivalState(endpoints.internal.archival);
  if (state === null) return "archive  unknown: archival does not answer";
  const { phase, pendingBytes, archiveLagMs, deadLetters, refusals } = state;
  const shown = (value: number | null, unit: string) => (value === null ? "?" : `${value} ${unit}`);
  const refusing = Object.entries(refusals).map(([store, why]) => `\n  ${store} refuses: ${why}`);
  return `archive  ${phase}; lag ${shown(archiveLagMs, "ms")}, ${shown(pendingBytes, "bytes")}; ${shown(deadLetters, "dead letters")}${refusing.join("")}`;
}

async function lotsText({ endpoints }: RunRecord): Promise<string> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const answers = await Promise.all(
      ["v1/auction", "v1/lots?limit=200"].map((path) =>
        fetch(`${endpoints.gateway}/${path}`, { signal }),
      ),
    );
    const failed = answers.find(({ ok }) => !ok);
    if (failed) return `lots     unknown: the gateway answers ${failed.status}`;
    const [auction, lots] = await Promise.all(answers.map((answer) => answer.json()));
    const { currency, minorUnitDigits } = auction as { currency: string; minorUnitDigits: number };
    const rows = (lots as { lots: LotView[] }).lots.map((lot) => [
      lot.lotId,
      lot.status,
      lot.bidCount,
      lot.leadingBid === null ? "" : printMajor(lot.leadingBid.amountMinor, minorUnitDigits),
      lot.leadingBid?.bidderId ?? "",
      lot.closesAtMs === null ? "" : new Date(lot.closesAtMs),
    ]);
    return tableOf(["lot", "status", "bids", currency, "leads", "closes"], rows);
  } catch (error) {
    if (!isUnavailable(error) && !(error instanceof SyntaxError)) throw error;
    return "lots     unknown: the gateway does not answer";
  }
}
