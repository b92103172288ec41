/** Waits for recovery, observed from outside: pods, bidders and viewers, archive. */
import type { AuctionResource } from "../operator/api/auction-resource.ts";
import { INTERNAL_PORTS, PUBLIC_PORTS } from "../operator/desired/environment.ts";
import type { ArchivalState } from "../services/archival/observe/state.ts";
import type { LoadJob } from "./load-job.ts";
import { AUCTION, type Component } from "./scenario.ts";
import { metricOf, type Pod, type Target } from "./target.ts";
import { passTime, Stopped, waitFor } from "./wait-for.ts";

const ARCHIVAL = `${AUCTION}-archival-internal`;
const RECOVERED_WITHIN_MS = 330_000;
const ARCHIVED_WITHIN_MS = 90_000;
/** Longer than any scenario allows. Failures until then are findings. */
const QUIET_WITHIN_MS = 90_000;
/** Seconds without a failed attempt and with all viewers connected. Longer than any retry waits. */
const QUIET_SECONDS = 5;
const REPLY_WITHIN_MS = 30_000;

/** How long a wait took. Infinity when it timed out: that is a finding, and the rest is still judged. */
export async function elapsedMs(wait: Promise<void>, log: (line: string) => void): Promise<number> {
  const fromMs = Date.now();
  try {
    await wait;
    return Date.now() - fromMs;
  } catch (error) {
    if (error instanceof Stopped) throw error;
    log(`    ${(error as Error).message}`);
    return Infinity;
  }
}

/** The number of pods of each component. */
function podsOf({ spec }: AuctionResource): readonly (readonly [Component, number])[] {
  const { gateway, broadcast, archival } = spec.tiers;
  return [
    ...(["redis", "nats", "postgres"] as const).map((store) => [store, 1] as const),
    ["gateway", gateway.replicas ?? 1],
    ["broadcast", broadcast.replicas ?? 1],
    ["archival", archival.replicas ?? 1],
  ];
}

/**
 * Every pod of the auction and at least one operator is ready, and no killed pod is left. A killed leader of the
 * operator has been replaced.
 */
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
      const podsOfComponent = (component: string) =>
        pods.filter((pod) => pod.component === component);
      const complete = wanted.every(([name, count]) => podsOfComponent(name).length === count);
      const all = !left && complete && pods.every(({ ready }) => ready);
      if (!all || podsOfComponent("operator").length === 0 || leaderGone === undefined) {
        return all && podsOfComponent("operator").length > 0;
      }
      const leader = await target.leader();
      return (
        leader !== leaderGone && podsOfComponent("operator").some(({ name }) => name === leader)
      );
    },
    RECOVERED_WITHIN_MS,
  );
}

/** No attempt to bid fails, and all viewers are connected. */
export async function allIsQuiet(load: LoadJob, viewers: number): Promise<void> {
  await passTime(1_000 * QUIET_SECONDS);
  await waitFor(
    "no bid fails and all viewers are connected",
    () => {
      const last = load.seconds.slice(-QUIET_SECONDS);
      return last.every((s) => s.refused + s.unknown === 0) && last.at(-1)?.watching === viewers;
    },
    QUIET_WITHIN_MS,
  );
}

/** Pods without a fault that are gone or have restarted. */
export async function restartedOf(target: Target, untouched: readonly Pod[]): Promise<string[]> {
  const now = await target.pods();
  const isSame = ({ uid, restarts }: Pod) =>
    now.some((pod) => pod.uid === uid && pod.restarts === restarts);
  return untouched.filter((pod) => !isSame(pod)).map(({ name }) => name);
}

/** Everything acknowledged until now is archived. */
export async function allIsArchived(target: Target): Promise<void> {
  const id = await waitFor(
    "archival reports the outbox",
    async () => (await stateOf(target)).lastId,
    60_000,
  );
  await waitFor(
    `the archive has ${id}`,
    async () => isAtLeast((await stateOf(target)).archivedId ?? "0-0", id),
    ARCHIVED_WITHIN_MS,
  );
}

/** The number of events that are not relayed, by the metric. */
export async function unrelayedEvents(target: Target): Promise<number> {
  const read = () => target.service(ARCHIVAL, INTERNAL_PORTS.archival, "/metrics");
  const text = await waitFor("archival serves its metrics", read, REPLY_WITHIN_MS);
  return metricOf(text, "gavel_archival_unrelayed_events");
}

/** The present epoch of the lots. */
export async function epochNow(target: Target): Promise<number> {
  const read = () => target.service(`${AUCTION}-gateway`, PUBLIC_PORTS.gateway, "/v1/lots");
  const text = await waitFor("the gateway serves the lots", read, REPLY_WITHIN_MS);
  const { lots } = JSON.parse(text) as { lots: readonly { epoch: number }[] };
  return Math.max(...lots.map(({ epoch }) => epoch));
}

const stateOf = async (target: Target): Promise<ArchivalState> =>
  JSON.parse(
    await target.service(ARCHIVAL, INTERNAL_PORTS.archival, "/internal/v1/state"),
  ) as ArchivalState;

/** Outbox ids are `<ms>-<n>`. */
function isAtLeast(id: string, least: string): boolean {
  const [ms, n] = id.split("-").map(Number) as [number, number];
  const [leastMs, leastN] = least.split("-").map(Number) as [number, number];
  return ms > leastMs || (ms === leastMs && n >= leastN);
}
