/**
 * `make scale KIND=1`: 1, 2 and 4 gateways and broadcasts on the cluster, with bids and viewers at one rate. All pods
 * may share few cores, so the bids decided and frames delivered per second of CPU are compared.
 */
import type { ExperimentOptions } from "./experiment-options.ts";
import { LoadJob, planOf } from "./load-job.ts";
import { windowOf } from "./measure.ts";
import { createNamespace, removeAll, startAuction } from "./surroundings.ts";
import type { Target } from "./target.ts";
import { passTime } from "./wait-for.ts";

const REPLICAS = [1, 2, 4];
const WARM_UP_MS = 10_000;
const MEASURED_MS = 30_000;
type Tier = "gateway" | "broadcast";

interface ScaleStep {
  readonly replicas: number;
  readonly decidedPerSecond: number;
  readonly framesPerSecond: number;
  readonly p99Ms: number;
  /** Cores that the tier's pods used, all together. */
  readonly cores: Readonly<Record<Tier, number>>;
}

export async function measureScale(
  target: Target,
  settings: ExperimentOptions,
): Promise<ScaleStep[]> {
  const { log, viewers, seed, bidsPerSecond } = settings;
  const steps: ScaleStep[] = [];
  try {
    for (const replicas of REPLICAS) {
      log(`${replicas} gateways and ${replicas} broadcasts`);
      await createNamespace(target);
      const auction = await startAuction(target, { ...settings, replicas }, (line) =>
        log(`  ${line}`),
      );
      const load = new LoadJob(target);
      const rates = [bidsPerSecond];
      const plan = await planOf(auction, { rates, stepSeconds: 1, viewers, seed });
      await load.start(plan, settings.loadImage);
      await passTime(WARM_UP_MS);
      const [before, fromMs] = [await cpuSeconds(target), Date.now()];
      await passTime(MEASURED_MS);
      const [after, toMs] = [await cpuSeconds(target), Date.now()];
      const { decidedPerSecond, framesPerSecond, p99Ms } = windowOf(load.between(fromMs, toMs));
      const cores = (tier: Tier) => (after[tier] - before[tier]) / ((toMs - fromMs) / 1_000);
      const step = {
        replicas,
        decidedPerSecond,
        framesPerSecond,
        p99Ms,
        cores: { gateway: cores("gateway"), broadcast: cores("broadcast") },
      };
      steps.push(step);
      log(`  ${lineOf(step, steps[0]!)}`);
      await removeAll(target, log);
    }
    return steps;
  } finally {
    log("removing what was made");
    await removeAll(target, log).catch((error: Error) => log(error.message));
  }
}

/** Of all pods of each tier, since they began. */
async function cpuSeconds(target: Target): Promise<Record<Tier, number>> {
  const pods = await target.pods();
  const of = async (tier: Tier) => {
    const own = pods.filter(({ component }) => component === tier);
    const all = await Promise.all(
      own.map((pod) => target.metric(pod, "process_cpu_seconds_total")),
    );
    return all.reduce((sum, seconds) => sum + seconds, 0);
  };
  return { gateway: await of("gateway"), broadcast: await of("broadcast") };
}

/** Efficiency is what a core does, of what it does with one replica. Pure. */
function lineOf(step: ScaleStep, first: ScaleStep): string {
  const perCore = ({ decidedPerSecond, framesPerSecond, cores }: ScaleStep) => ({
    bids: decidedPerSecond / cores.gateway,
    frames: framesPerSecond / cores.broadcast,
  });
  const [own, one] = [perCore(step), perCore(first)];
  return [
    `${step.decidedPerSecond} bids/s decided, ${step.framesPerSecond} frames/s delivered, p99 ${step.p99Ms} ms`,
    `gateways used ${step.cores.gateway.toFixed(2)} cores: ${Math.round(own.bids)} bids a core second, efficiency ${(own.bids / one.bids).toFixed(2)}`,
    `broadcasts ${step.cores.broadcast.toFixed(2)}: ${Math.round(own.frames)} frames, ${(own.frames / one.frames).toFixed(2)}`,
  ].join("; ");
}
