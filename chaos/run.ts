/** `make chaos SCENARIO=…`, `make chaos-all`: runs experiments on a cluster. See README.md. */
import { constants, setPriority } from "node:os";
import { parseArgs } from "node:util";
import { readKnee } from "./knee.ts";
import { measureKnee } from "./measure-knee.ts";
import { measureScale } from "./measure-scale.ts";
import { experiment, type Report } from "./experiment.ts";
import type { ExperimentOptions } from "./experiment-options.ts";
import { outcomeOf } from "./hypothesis.ts";
import { writeReport } from "./report.ts";
import { readScenario, type Scenario, scenarioNames } from "./scenario.ts";
import { annotate, drawDashboards } from "./show.ts";
import { readSecretFile } from "../services/runtime/secret-file.ts";
import { needNoNamespace, needOperatorAndChaosMesh, removeAll } from "./surroundings.ts";
import { operatorImage, Target } from "./target.ts";
import { Stopped, stopWaiting, wasStopped } from "./wait-for.ts";

const USAGE = `usage: node chaos/run.ts --context NAME (SCENARIO… | --all | --knee | --scale | --clean) [options]

  --context NAME     context of the kubeconfig; no other context is touched
  --all              every scenario that does not need Chaos Mesh's daemon, except random-hour
  --daemon           with --all: also the scenarios that need Chaos Mesh's daemon
  --duration S       replaces the duration of the scenario
  --rounds N         replaces the number of rounds of the scenario
  --repeats N        repeats of a run that is too noisy to judge; default 2
  --rate N           bids due per second; default 40 % of the knee (knee.json)
  --viewers N        number of viewers; default 500
  --seed N           default 7
  --image NAME       image of the load; default the operator's image
  --tier-image NAME  image of the tiers; default the operator's image
  --prometheus URL   also draw the latency and pipeline dashboards of each run into reports/
  --grafana URL      annotate each fault in Grafana, with the token in --grafana-token-file
  --keep             leave the auction and the load running
  --knee             measure the knee of this cluster and write knee.json
  --scale            measure 1, 2 and 4 gateways and broadcasts at the rate, per core
  --clean            only remove what an interrupted run left
  --help

examples
  node chaos/run.ts --context kind-gavel postgres-killed
  node chaos/run.ts --context kind-gavel --all --prometheus http://localhost:9090

Creates the namespace gavel-chaos with an Auction of its own, and removes both.

exit codes
  0  every hypothesis held
  1  a hypothesis is broken
  2  the command line is wrong
  3  a hypothesis was not judged: too noisy, also in the repeats
  4  an experiment could not be run

scenarios: ${scenarioNames().join(", ")}
`;

const EXIT_USAGE = 2;
const EXIT_NOT_RUN = 4;
const EXIT = { held: 0, broken: 1, "not judged": 3 } as const;
/** Default number of repeats of a run that is too noisy to judge. */
const REPEATS_MAX = 2;

const log = (line: string) => void process.stdout.write(`${line}\n`);

type CommandLine = ReturnType<typeof parseCommandLine>;

function parseCommandLine() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      context: { type: "string" },
      all: { type: "boolean" },
      daemon: { type: "boolean" },
      keep: { type: "boolean" },
      clean: { type: "boolean" },
      knee: { type: "boolean" },
      scale: { type: "boolean" },
      help: { type: "boolean" },
      duration: { type: "string" },
      rounds: { type: "string" },
      rate: { type: "string" },
      viewers: { type: "string" },
      seed: { type: "string" },
      repeats: { type: "string" },
      image: { type: "string" },
      "tier-image": { type: "string" },
      prometheus: { type: "string" },
      grafana: { type: "string" },
      "grafana-token-file": { type: "string" },
    },
  });
  const numberOf = (
    name: "duration" | "rounds" | "rate" | "viewers" | "seed" | "repeats",
    least = 1,
  ) => {
    const text = values[name];
    if (text === undefined || text === "") return undefined;
    const number = Number(text);
    if (!Number.isInteger(number) || number < least) {
      throw new Error(`--${name} must be an integer ≥ ${least}, got ${text}`);
    }
    return number;
  };
  const numbers = {
    durationSeconds: numberOf("duration"),
    rounds: numberOf("rounds"),
    rate: numberOf("rate"),
    viewers: numberOf("viewers"),
    seed: numberOf("seed"),
    // A kept auction prevents another run.
    repeats: values.keep ? 0 : (numberOf("repeats", 0) ?? REPEATS_MAX),
  };
  return { values, numbers, names: positionals };
}

/** What one call does: print the usage, or run against a cluster. */
type Call =
  | { readonly exitCode: number; readonly usageError?: string }
  | { readonly exitCode: null; readonly context: string; readonly scenarios: readonly Scenario[] };

function callOf({ values, names }: Pick<CommandLine, "values" | "names">): Call {
  if (values.help) return { exitCode: 0 };
  const selected = values.all
    ? scenarioNames().filter((name) => {
        const { spec } = readScenario(name);
        return spec.random === undefined && (values.daemon || spec.needs === "controller");
      })
    : names;
  if (values.keep && selected.length > 1) {
    return { exitCode: EXIT_USAGE, usageError: "--keep requires exactly one scenario" };
  }
  const others = [values.clean, values.knee, values.scale].filter(Boolean).length;
  if (values.context === undefined || Number(selected.length > 0) + others !== 1) {
    const usageError =
      "--context is required, and exactly one of: scenarios, --all, --knee, --scale, --clean";
    return { exitCode: EXIT_USAGE, usageError };
  }
  const scenarios = selected.map((name) => readScenario(name));
  return { exitCode: null, context: values.context, scenarios };
}

async function main(): Promise<number> {
  let commandLine: CommandLine;
  try {
    commandLine = parseCommandLine();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  const call = callOf(commandLine);
  if (call.exitCode !== null) {
    if (call.usageError === undefined) log(USAGE);
    else process.stderr.write(`${call.usageError}\n\n${USAGE}`);
    return call.exitCode;
  }
  const target = new Target(call.context);
  stopOnSignals(target);
  try {
    await target.open();
    return await runOn(target, call.scenarios, commandLine);
  } finally {
    target.close();
  }
}

async function runOn(
  target: Target,
  scenarios: readonly Scenario[],
  { values, numbers }: CommandLine,
): Promise<number> {
  if (values.clean) {
    await removeAll(target, log);
    return 0;
  }
  await needOperatorAndChaosMesh(target);
  await needNoNamespace(target);
  const { fixedRate, measuredOn } = readKnee();
  const options: ExperimentOptions = {
    loadImage: values.image || (await operatorImage(target)),
    tierImage: values["tier-image"] || undefined,
    bidsPerSecond: numbers.rate ?? fixedRate,
    viewers: numbers.viewers ?? 500,
    seed: numbers.seed ?? 7,
    durationSeconds: numbers.durationSeconds,
    rounds: numbers.rounds,
    keep: values.keep ?? false,
    log,
  };
  if (values.knee) {
    const knee = await measureKnee(target, options);
    log(`the knee is ${knee.knee} bids/s; experiments run at ${knee.fixedRate} bids/s`);
    return 0;
  }
  if (values.scale) {
    await measureScale(target, options);
    return 0;
  }
  if (numbers.rate === undefined) {
    log(
      `${fixedRate} bids/s, from the knee of ${measuredOn}; --knee measures the knee of ${target.context}`,
    );
  }
  return runScenarios(target, scenarios, options, { values, numbers });
}

async function runScenarios(
  target: Target,
  scenarios: readonly Scenario[],
  options: ExperimentOptions,
  { values, numbers }: Pick<CommandLine, "values" | "numbers">,
): Promise<number> {
  const reports: Report[] = [];
  const notRun: string[] = [];
  for (const scenario of scenarios) {
    if (wasStopped()) throw new Stopped();
    try {
      const run = () => experiment(target, scenario, options);
      const report = await repeatWhileNoisy(numbers.repeats, run);
      reports.push(report);
      await publish(report, values);
    } catch (error) {
      if (wasStopped()) throw new Stopped();
      // A fault that was not injected proves nothing. The next scenario may work.
      log(`${scenario.name}: not run: ${(error as Error).message}`);
      notRun.push(scenario.name);
    }
  }
  log("");
  for (const { scenario, outcome } of reports) log(`${scenario.padEnd(20)} ${outcome}`);
  for (const name of notRun) log(`${name.padEnd(20)} not run`);
  if (notRun.length > 0) return EXIT_NOT_RUN;
  return EXIT[outcomeOf(reports.map((r) => ({ what: "", why: "", judged: r.outcome })))];
}

/** Repeats a run only when it was too noisy to judge. A broken hypothesis stays broken. */
async function repeatWhileNoisy(repeats: number, run: () => Promise<Report>): Promise<Report> {
  for (let repeat = 0; ; repeat++) {
    const report = await run();
    logFindings(report, writeReport(report));
    if (report.outcome !== "not judged" || repeat >= repeats || wasStopped()) return report;
    log("  too noisy to judge: repeating");
  }
}

/** Draws dashboards and annotates Grafana. A failure here does not change the result. */
async function publish(
  report: Report,
  { prometheus, grafana, ...values }: CommandLine["values"],
): Promise<void> {
  try {
    if (prometheus) {
      for (const file of await drawDashboards(report, prometheus)) log(`  ${file}`);
    }
    const tokenFile = values["grafana-token-file"];
    if (grafana) await annotate(report, grafana, tokenFile ? readSecretFile(tokenFile) : "");
  } catch (error) {
    log(`  not published: ${(error as Error).message}`);
  }
}

function logFindings({ scenario, outcome, findings }: Report, file: string): void {
  log(`${scenario}: ${outcome}`);
  for (const { what, judged, why } of findings) log(`  ${judged.padEnd(10)} ${what}: ${why}`);
  log(`  ${file}`);
}

/** The first signal stops the experiment and removes it. The second signal exits at once. */
function stopOnSignals(target: Target): void {
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (++signals === 1) {
        log("stopping; a second Ctrl-C exits at once (--clean removes the rest)");
        stopWaiting();
      } else {
        target.close();
        process.exit(EXIT_NOT_RUN);
      }
    });
  }
}

// The terminal may be closed. The experiment must still be removed.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {});
// On a cluster on this machine the runner must not take CPU from what it measures.
setPriority(constants.priority.PRIORITY_LOW);
try {
  process.exitCode = await main();
} catch (error) {
  const why = error instanceof Stopped ? "stopped" : (error as Error).stack;
  process.stderr.write(`chaos: ${why}\n`);
  process.exitCode = EXIT_NOT_RUN;
}
