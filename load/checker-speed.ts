/** Measures the checker: generates a correct history of about a million records and checks it. */
import { checkHistory } from "../services/lot/checker/checker.ts";
import { randomHistory, seededRandom } from "../services/lot/checker/random-history.ts";

const RECORDS = Number(process.env["RECORDS"] ?? 1_000_000);
const SEED = Number(process.env["SEED"] ?? 1);

const { history, log, terms } = randomHistory(seededRandom(SEED), {
  lots: 20,
  steps: RECORDS,
  viewers: 0,
  gapMs: 1,
  delayMs: 50,
  lastsMs: RECORDS,
  finish: true,
  weights: { pass: 0, withdraw: 0, low: 4, unknown: 1, refused: 1 },
});
const startedMs = performance.now();
const before = process.cpuUsage();
const { counts, verdicts } = checkHistory(history, log, { terms, ended: true });
const tookMs = performance.now() - startedMs;
const { user, system } = process.cpuUsage(before);
const cpuSeconds = ((user + system) / 1e6).toFixed(1);

const { records, acknowledged, events } = counts;
const rate = Math.round(records / (tookMs / 1_000));
const heapMiB = Math.round(process.memoryUsage().heapUsed / 2 ** 20);
console.log(
  `seed ${SEED}: ${records} records (${acknowledged} bids acknowledged, ${events} events, ${counts.lots} lots) ` +
    `judged in ${(tookMs / 1_000).toFixed(1)} s (${cpuSeconds} s of CPU), ${rate} a second, ${heapMiB} MiB of heap; ${verdicts.length} verdicts`,
);
