/** `make chaos SCENARIO=…`, `make chaos-all`: experiments on a cluster, judged bid by bid. See README.md. */
import { constants, setPriority } from "node:os";
import { parseArgs } from "node:util";
import { readKnee } from "./knee.ts";
import { measureKnee } from "./measure-knee.ts";
import { measureScale } from "./measure-scale.ts";
import { experiment, type Report, type Settings } from "./experiment.ts";
import { outcomeOf } from "./hypothesis.ts";
import { writeReport } from "./report.ts";
import { readScenario, scenarioNames } from "./scenario.ts";
import { annotate, drawDashboards } from "./show.ts";
import { readSecretFile } from "../services/runtime/secret-file.ts";
import { needNoNamespace, needOperatorAndChaosMesh, removeAll } from "./surroundings.ts";
import { operatorImage, Target } from "./target.ts";
import { Stopped, stopWaiting, wasStopped } from "./wait-for.ts";

const USAGE = `usage: node chaos/run.ts --context NAME (SCENARIO… | --all | --knee | --scale | --clean) [options]

  --context NAME     the kubeconfig's context; no other is ever touched
  --all              all scenarios that need no chaos daemon, but random-hour
  --daemon           with --all: those, too, that need the full Chaos Mesh
  --duration S       in place of a scenario's own duration
  --rounds N         in place of a scenario's own rounds
  --repeats N        of a run that is too noisy to be judged; without it 2
  --rate N           bids due a second; without it 40 % of the knee (knee.json)
  --viewers N        without it 500
  --seed N           without it 7
  --image NAME       of the load; without it the operator's own
  --tier-image NAME  of the tiers; without it the operator's own
  --prometheus URL   draw the latency and pipeline dashboards of each run into reports/, too
  --grafana URL      mark each fault there, with the token in --grafana-token-file
  --keep             leave the auction and the load as they are
  --knee             measure the knee of this cluster and keep it in knee.json
  --scale            1, 2 and 4 gateways and broadcasts at that rate, and what each does a core
  --clean            only remove what an earlier run left
  --help

It makes the namespace gavel-chaos with an Auction of its own, and removes both. Exit codes: 0 every hypothesis
held; 1 one is broken; 3 one was not judged (too noisy, after two repeats); 2 usage; 4 it could not be run.

scenarios: ${scenarioNames().join(", ")}
`;

const EXIT = { held: 0, broken: 1, "not judged": 3 } as const;
/** A run too noisy to be judged is repeated so often, and then told as such. */
const REPEATS_MAX = 2;

const say = (line: string) => void process.stdout.write(`${line}\n`);

function readWords() {
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
      throw new Error(`--${name} must be a whole number from ${least} on, not ${text}`);
    }
    return number;
  };
  const numbers = {
    durationSeconds: numberOf("duration"),
    rounds: numberOf("rounds"),
    rate: numberOf("rate"),
    viewers: numberOf("viewers"),
    seed: numberOf("seed"),
    // What is kept is in the way of another one.
    repeats: values.keep ? 0 : (numberOf("repeats", 0) ?? REPEATS_MAX),
  };
  return { values, numbers, names: positionals };
}

async function run(): Promise<number> {
  let words: ReturnType<typeof readWords>;
  try {
    words = readWords();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { values, numbers } = words;
  if (values.help) {
    say(USAGE);
    return 0;
  }
  const asked = values.all
    ? scenarioNames().filter((name) => {
        const { spec } = readScenario(name);
        return spec.random === undefined && (values.daemon || spec.needs === "controller");
      })
    : words.names;
  if (values.keep && asked.length > 1) {
    process.stderr.write(`--keep is for one scenario\n\n${USAGE}`);
    return 2;
  }
  const others = [values.clean, values.knee, values.scale].filter(Boolean).length;
  if (values.context === undefined || Number(asked.length > 0) + others !== 1) {
    process.stderr.write(
      `--context, and one of a scenario, --all, --knee, --scale and --clean, are needed\n\n${USAGE}`,
    );
    return 2;
  }
  const scenarios = asked.map((name) => readScenario(name));
  const target = new Target(values.context);
  stopOnSignals(target);
  try {
    await target.open();
    if (values.clean) {
      await removeAll(target, say);
      return 0;
    }
    await needOperatorAndChaosMesh(target);
    await needNoNamespace(target);
    const known = readKnee();
    const settings: Settings = {
      loadImage: values.image || (await operatorImage(target)),
      tierImage: values["tier-image"] || undefined,
      bidsPerSecond: numbers.rate ?? known.fixedRate,
      viewers: numbers.viewers ?? 500,
      seed: numbers.seed ?? 7,
      durationSeconds: numbers.durationSeconds,
      rounds: numbers.rounds,
      keep: values.keep ?? false,
      say,
    };
    if (values.knee) {
      const knee = await measureKnee(target, settings);
      say(`the knee is at ${knee.knee} bids/s; experiments run at ${knee.fixedRate}`);
      return 0;
    }
    if (values.scale) {
      await measureScale(target, settings);
      return 0;
    }
    if (numbers.rate === undefined) {
      say(
        `${known.fixedRate} bids/s, from the knee of ${known.of}: --knee measures that of ${target.context}`,
      );
    }
    const reports: Report[] = [];
    const notRun: string[] = [];
    for (const scenario of scenarios) {
      if (wasStopped()) throw new Stopped();
      try {
        const report = await repeated(numbers.repeats, () =>
          experiment(target, scenario, settings),
        );
        reports.push(report);
        await show(report, values);
      } catch (error) {
        if (wasStopped()) throw new Stopped();
        // A fault that could not be injected, or proven, proves nothing; the next one may go well.
        say(`${scenario.name}: not run: ${(error as Error).message}`);
        notRun.push(scenario.name);
      }
    }
    say("");
    for (const { scenario, outcome } of reports) say(`${scenario.padEnd(20)} ${outcome}`);
    for (const name of notRun) say(`${name.padEnd(20)} not run`);
    if (notRun.length > 0) return 4;
    return EXIT[outcomeOf(reports.map((r) => ({ what: "", why: "", judged: r.outcome })))];
  } finally {
    target.close();
  }
}

/** Only noise is repeated: what is broken stays broken. */
async function repeated(repeats: number, once: () => Promise<Report>): Promise<Report> {
  for (let repeat = 0; ; repeat++) {
    const report = await once();
    tell(report, writeReport(report));
    if (report.outcome !== "not judged" || repeat >= repeats || wasStopped()) return report;
    say("  again, as it was too noisy");
  }
}

/** Screens that do not answer change nothing of what was found. */
async function show(
  report: Report,
  { prometheus, grafana, ...words }: ReturnType<typeof readWords>["values"],
): Promise<void> {
  try {
    if (prometheus) {
      for (const file of await drawDashboards(report, prometheus)) say(`  ${file}`);
    }
    const tokenFile = words["grafana-token-file"];
    if (grafana) await annotate(report, grafana, tokenFile ? readSecretFile(tokenFile) : "");
  } catch (error) {
    say(`  not shown: ${(error as Error).message}`);
  }
}

function tell({ scenario, outcome, findings }: Report, file: string): void {
  say(`${scenario}: ${outcome}`);
  for (const { what, judged, why } of findings) say(`  ${judged.padEnd(10)} ${what}: ${why}`);
  say(`  ${file}`);
}

/** The first signal ends what is waited for, and what was made is removed; the second ends that, too. */
function stopOnSignals(target: Target): void {
  let told = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (++told === 1) {
        say("stopping; a second Ctrl-C leaves what is there (--clean removes it)");
        stopWaiting();
      } else {
        target.close();
        process.exit(4);
      }
    });
  }
}

// Who reads may be gone, as a closed terminal is: what was made is removed all the same.
for (const output of [process.stdout, process.stderr]) output.on("error", () => {});
// On a cluster of this very machine, what watches must not take the processor from what is watched.
setPriority(constants.priority.PRIORITY_LOW);
try {
  process.exitCode = await run();
} catch (error) {
  const why = error instanceof Stopped ? "stopped" : (error as Error).stack;
  process.stderr.write(`chaos: ${why}\n`);
  process.exitCode = 4;
}
