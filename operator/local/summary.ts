/** What a newcomer sees when all is ready: addresses, and commands to paste. */
import { printMajor } from "../../services/lot/money.ts";
import type { LotView } from "../../services/lot/view.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { tokenFor } from "./archival.ts";
import type { LocalEnv } from "./config.ts";
import { type DataFolder, TIERS } from "./data-folder.ts";
import { endpointsOf } from "./tiers.ts";

const TOKEN_LIFETIME_SECONDS = 24 * 3600;
const SAMPLE_BIDDER = "alice";
const TIMEOUT_MS = 5_000;

export async function summaryOf(
  { metadata, spec }: AuctionResource,
  folder: DataFolder,
  env: LocalEnv,
  observed: boolean,
): Promise<string> {
  const { gateway, stream, internal } = endpointsOf(env);
  const metrics = TIERS.map((tier) => `${internal[tier]}/metrics`);
  if (observed) metrics.push(`Prometheus: http://localhost:${env.PROMETHEUS_PORT}/alerts`);
  const token = await tokenFor(folder, SAMPLE_BIDDER, "bid", TOKEN_LIFETIME_SECONDS);
  const lots = await readLots(env);
  const lot = lots.find(({ status }) => status === "open") ?? lots[0]!;
  const amount = `${printMajor(lot.minimumMinor, spec.minorUnitDigits)} ${spec.currency}`;
  return `
${spec.title ?? metadata.name}: ${lots.length} lots, ${whenOf(lots)}.

  page      ${gateway}/#token=${token}
  gateway   ${gateway}   (its API: ${gateway}/docs)
  stream    ${stream}
  metrics   ${metrics.join("\n            ")}

The token of a bidder (${SAMPLE_BIDDER}, for a day; another one: make token BIDDER=bob):

  ${token}

Place a bid of ${amount} on ${lot.lotId}:

  curl -sS ${gateway}/v1/lots/${lot.lotId}/bids -d '{"amountMinor": ${lot.minimumMinor}}' \\
    -H "Content-Type: application/json" -H "Idempotency-Key: $(date +%s%N)" \\
    -H "Authorization: Bearer ${token}"

Then   make sql Q="select * from bids"     what the archive holds
       make status                         tiers, stores, lag, lots
       make logs                           what the processes say
Stop with ${env.DETACH ? "make down" : "Ctrl-C"}; make up goes on from there.`;
}

async function readLots(env: LocalEnv): Promise<LotView[]> {
  const url = `http://127.0.0.1:${env.GATEWAY_PORT}/v1/lots?limit=200`;
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`the gateway answers ${response.status} to ${url}`);
  return ((await response.json()) as { lots: LotView[] }).lots;
}

/** The clock opens lots a moment after the auction; whoever reads this has them open. */
function whenOf(lots: readonly LotView[]): string {
  const running = lots.filter(({ status }) => status === "open" || status === "scheduled");
  if (running.length === 0) return "all closed";
  const opensAtMs = Math.min(...running.map((lot) => lot.opensAtMs ?? Infinity));
  const closesAtMs = Math.min(...running.map((lot) => lot.closesAtMs ?? Infinity));
  const opens = opensAtMs > Date.now() ? `opening ${clock(opensAtMs)}, ` : "open, ";
  return `${opens}the first closes ${clock(closesAtMs)}`;
}

const DAY_MS = 24 * 3_600_000;

/** The hour is enough for what is near. */
function clock(ms: number): string {
  const date = new Date(ms);
  const isNear = Math.abs(ms - Date.now()) < DAY_MS;
  return isNear ? `at ${date.toTimeString().slice(0, 8)}` : `on ${date.toString().slice(0, 24)}`;
}
