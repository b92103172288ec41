/** The text that `make up` prints when the auction is ready: addresses, and commands to paste. */
import { printMajor } from "../../services/lot/money.ts";
import type { LotView } from "../../services/lot/view.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { minorUnitDigitsOf } from "../api/currency.ts";
import { signLocalToken } from "./local-token.ts";
import type { LocalEnv } from "./config.ts";
import type { DataFolder } from "./data-folder.ts";
import { endpointsOf } from "./tiers.ts";

/** The last words of the summary. DETACH=1 waits for them. */
export const SUMMARY_END = "the next make up continues the auction.";

const TOKEN_LIFETIME_SECONDS = 24 * 3600;
const SAMPLE_BIDDER = "alice";
const TIMEOUT_MS = 5_000;

export async function summaryOf(
  { metadata, spec }: AuctionResource,
  folder: DataFolder,
  env: LocalEnv,
  withPrometheus: boolean,
): Promise<string> {
  const { gateway, stream, processes } = endpointsOf(env);
  const metrics = processes.map(({ internal }) => `${internal}/metrics`);
  if (withPrometheus) metrics.push(`Prometheus: http://localhost:${env.PROMETHEUS_PORT}/alerts`);
  const token = await signLocalToken(folder, SAMPLE_BIDDER, "bid", TOKEN_LIFETIME_SECONDS);
  const lots = await readLots(env);
  const lot = lots.find(({ status }) => status === "open") ?? lots[0]!;
  const amount = `${printMajor(lot.minimumMinor, minorUnitDigitsOf(spec))} ${spec.currency}`;
  return `
${spec.title ?? metadata.name}: ${lots.length} lots, ${scheduleText(lots)}.

  page      ${gateway}/#token=${token}
  gateway   ${gateway}   (its API: ${gateway}/docs)
  stream    ${stream}
  metrics   ${metrics.join("\n            ")}

A token for the bidder ${SAMPLE_BIDDER}, valid for a day (for another bidder: make token BIDDER=bob):

  ${token}

Place a bid of ${amount} on ${lot.lotId}:

  curl -sS ${gateway}/v1/lots/${lot.lotId}/bids -d '{"amountMinor": ${lot.minimumMinor}}' \\
    -H "Content-Type: application/json" -H "Idempotency-Key: $(date +%s%N)" \\
    -H "Authorization: Bearer ${token}"

Then   make sql Q="select * from bids"     the bids in the archive
       make status                         tiers, stores, lag, lots
       make logs                           the logs of all processes
Stop with ${env.DETACH ? "make down" : "Ctrl-C"}; ${SUMMARY_END}`;
}

async function readLots(env: LocalEnv): Promise<LotView[]> {
  const url = `http://127.0.0.1:${env.GATEWAY_PORT}/v1/lots?limit=200`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`the gateway answered ${response.status} to GET ${url}`);
  return ((await response.json()) as { lots: LotView[] }).lots;
}

/** A lot whose opening time has passed counts as open: a gateway opens it within a moment. */
function scheduleText(lots: readonly LotView[]): string {
  const running = lots.filter(({ status }) => status === "open" || status === "scheduled");
  if (running.length === 0) return "all of them closed";
  const opensAtMs = Math.min(...running.map((lot) => lot.opensAtMs ?? Infinity));
  const closesAtMs = Math.min(...running.map((lot) => lot.closesAtMs ?? Infinity));
  const opens = opensAtMs > Date.now() ? `opening ${clock(opensAtMs)}, ` : "open, ";
  return `${opens}the first closes ${clock(closesAtMs)}`;
}

const DAY_MS = 24 * 3_600_000;

/** Time of day for an instant less than a day away, else date and time. */
function clock(ms: number): string {
  const date = new Date(ms);
  const isNear = Math.abs(ms - Date.now()) < DAY_MS;
  return isNear ? `at ${date.toTimeString().slice(0, 8)}` : `on ${date.toString().slice(0, 24)}`;
}
