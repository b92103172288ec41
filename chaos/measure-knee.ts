/** Raises the rate of bids step by step, with all viewers and without faults, until they become slow. */
import type { ExperimentOptions } from "./experiment-options.ts";
import { type Knee, kneeOf, stepsOf, writeKnee } from "./knee.ts";
import { LoadJob, planOf } from "./load-job.ts";
import { createNamespace, removeAll, startAuction } from "./surroundings.ts";
import type { Target } from "./target.ts";
import { passTime } from "./wait-for.ts";

const RATES = [50, 100, 150, 200, 300, 400, 600, 800, 1_200];
const STEP_SECONDS = 13;

export async function measureKnee(target: Target, settings: ExperimentOptions): Promise<Knee> {
  const { log, viewers, seed } = settings;
  const cores = await target.cores();
  await createNamespace(target);
  try {
    log("applying the auction");
    const auction = await startAuction(target, settings, (line) => log(`  ${line}`));
    const load = new LoadJob(target);
    const plan = await planOf(auction, { rates: RATES, stepSeconds: STEP_SECONDS, viewers, seed });
    await load.start(plan, settings.loadImage);
    for (const [n, rate] of RATES.entries()) {
      await passTime(STEP_SECONDS * 1_000);
      const step = stepsOf(load.seconds, [rate])[0]!;
      log(
        `  ${rate} due: ${step.decidedPerSecond} decided/s, ${step.framesPerSecond} frames/s, p50 ${step.p50Ms} ms, p99 ${step.p99Ms} ms`,
      );
      // Far above the knee: more steps would only take time.
      if (n > 0 && (step.p99Ms > 1_000 || Number.isNaN(step.p99Ms))) break;
    }
    const measured = RATES.filter((rate) => load.seconds.some((second) => second.rate === rate));
    const knee = kneeOf(stepsOf(load.seconds, measured), viewers, cores);
    writeKnee(knee);
    return knee;
  } finally {
    log("removing what was made");
    await removeAll(target, log).catch((error: Error) => log(error.message));
  }
}
