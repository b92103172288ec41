/** How the auction stands, asked from outside: whether all is there again, and how far the archive is. */
import type { AuctionResource } from "../operator/api/auction-resource.ts";
import { INTERNAL_PORTS, PUBLIC_PORTS } from "../operator/desired/environment.ts";
import type { State } from "../services/archival/observe/state.ts";
import type { LoadJob } from "./load-job.ts";
import { AUCTION, type Component } from "./scenario.ts";
import { metricOf, type Pod, type Target } from "./target.ts";
import { passTime, Stopped, waitFor } from "./wait-for.ts";

const ARCHIVAL = `${AUCTION}-archival-internal`;
const RECOVERED_WITHIN_MS = 330_000;
const ARCHIVED_WITHIN_MS = 90_000;
/** Longer than any scenario allows: what fails until then is a finding. */
const QUIET_WITHIN_MS = 90_000;
/** Seconds without a failed attempt, with all viewers there; retries come back sooner. */
const QUIET_SECONDS = 5;
const ASKED_WITHIN_MS = 30_000;

/** How long a wait took; Infinity where it was in vain, which is a finding: the rest is judged all the same. */
export async function elapsedMs(wait: Promise<void>, say: (line: string) => void): Promise<number> {
  const fromMs = Date.now();
  try {
    await wait;
    return Date.now() - fromMs;
  } catch (error) {
    if (error instanceof Stopped) throw error;
    say(`    ${(error as Error).message}`);
    return Infinity;
  }
}

/** How many of each part the auction has. */
function podsOf({ spec }: AuctionResource): readonly (readonly [Component, number])[] {
  const { gateway, broadcast, archival } = spec.tiers;
  return [
    ...(["redis", "nats", "postgres"] as const).map((store) => [store, 1] as const),
    ["gateway", gateway.replicas ?? 1],
    ["broadcast", broadcast.replicas ?? 1],
    ["archival", archival.replicas ?? 1],
  ];
}

/** All parts and one operator at least are there and ready, none of those that were killed; one operator leads that was not. */
export async function podsAreReady(
  target: Target,
  auction: AuctionResource,
  gone: readonly Pod[],
): Promise<void> {
  const wanted = podsOf(auction);
  const leaderGone = gone.find(({ component }) => component === "operator")?.name;
  await waitFor(
    "every pod is ready",
    async () => {
      const pods = await target.pods();
      const left = pods.some(({ uid }) => gone.some((one) => one.uid === uid));
      const of = (component: string) => pods.filter((pod) => pod.component === component);
      const complete = wanted.every(([name, count]) => of(name).length === count);
      const all = !left && complete && pods.every(({ ready }) => ready);
      if (!all || of("operator").length === 0 || leaderGone === undefined) {
        return all && of("operator").length > 0;
      }
      const leader = await target.leader();
      return leader !== leaderGone && of("operator").some(({ name }) => name === leader);
    },
    RECOVERED_WITHIN_MS,
  );
}

/** Bids are decided without a failed attempt, and all viewers watch. */
export async function allIsQuiet(load: LoadJob, viewers: number): Promise<void> {
  await passTime(1_000 * QUIET_SECONDS);
  await waitFor(
    "no bid fails and all viewers watch",
    () => {
      const last = load.seconds.slice(-QUIET_SECONDS);
      return last.every((s) => s.refused + s.unknown === 0) && last.at(-1)?.watching === viewers;
    },
    QUIET_WITHIN_MS,
  );
}

/** Pods to which nothing was done, and which are not there any more or have restarted. */
export async function restartedOf(target: Target, untouched: readonly Pod[]): Promise<string[]> {
  const now = await target.pods();
  const isSame = ({ uid, restarts }: Pod) =>
    now.some((pod) => pod.uid === uid && pod.restarts === restarts);
  return untouched.filter((pod) => !isSame(pod)).map(({ name }) => name);
}

/** What was acknowledged until now is in the archive. */
export async function allIsArchived(target: Target): Promise<void> {
  const id = await waitFor(
    "the store is asked",
    async () => (await stateOf(target)).lastId,
    60_000,
  );
  await waitFor(
    `the archive has ${id}`,
    async () => isAtLeast((await stateOf(target)).archivedId ?? "0-0", id),
    ARCHIVED_WITHIN_MS,
  );
}

/** What the metric shows as not relayed. */
export async function unrelayedEvents(target: Target): Promise<number> {
  const ask = () => target.service(ARCHIVAL, INTERNAL_PORTS.archival, "/metrics");
  const text = await waitFor("archival tells its metrics", ask, ASKED_WITHIN_MS);
  return metricOf(text, "gavel_archival_unrelayed_events");
}

/** The epoch that bids are decided in at present. */
export async function epochNow(target: Target): Promise<number> {
  const ask = () => target.service(`${AUCTION}-gateway`, PUBLIC_PORTS.gateway, "/v1/lots");
  const text = await waitFor("the gateway tells the lots", ask, ASKED_WITHIN_MS);
  const { lots } = JSON.parse(text) as { lots: readonly { epoch: number }[] };
  return Math.max(...lots.map(({ epoch }) => epoch));
}

const stateOf = async (target: Target): Promise<State> =>
  JSON.parse(
    await target.service(ARCHIVAL, INTERNAL_PORTS.archival, "/internal/v1/state"),
  ) as State;

/** Outbox ids are `<ms>-<n>`. */
function isAtLeast(id: string, least: string): boolean {
  const [ms, n] = id.split("-").map(Number) as [number, number];
  const [leastMs, leastN] = least.split("-").map(Number) as [number, number];
  return ms > leastMs || (ms === leastMs && n >= leastN);
}
