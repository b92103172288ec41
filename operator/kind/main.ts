/** Entry point of `make image`, `make kind-up` and `make kind-down`: node operator/kind/main.ts image|up|down. */
import { readEnv } from "../../services/runtime/env.ts";
import { readAuctionFile } from "../local/auction-file.ts";
import { KindEnv } from "./config.ts";
import { type BuiltImage, buildImage, imageSizeText } from "./image.ts";
import { installOperator } from "./install-operator.ts";
import { deleteCluster, ensureCluster, loadImages, localImages } from "./kind-cluster.ts";
import { installPrometheus } from "./prometheus.ts";
import { hasProgram } from "../../servers/run-program.ts";
import { applyAuction, waitUntilReady } from "./sample-auction.ts";
import { kindSummary } from "./summary.ts";
import { tolerateClosedPipe } from "../../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Runs one step and prints how long it took. */
async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const startedAtMs = Date.now();
  process.stdout.write(`${title} … `);
  try {
    const result = await work();
    say(`${((Date.now() - startedAtMs) / 1_000).toFixed(1)} s`);
    return result;
  } catch (error) {
    say("failed");
    throw error;
  }
}

function requirePrograms(...programs: string[]): void {
  const missing = programs.filter((program) => !hasProgram(program));
  if (missing.length > 0) throw new Error(`not on PATH: ${missing.join(", ")}; install them first`);
}

async function image(env: KindEnv): Promise<BuiltImage> {
  requirePrograms("docker", "npm");
  const built = await step(`Building ${env.IMAGE} on ${env.BASE}`, () =>
    buildImage(env.IMAGE, env.BASE),
  );
  say(`  ${env.IMAGE} = ${built.name}: ${imageSizeText(built, env.BASE)}`);
  return built;
}

async function up(env: KindEnv): Promise<void> {
  requirePrograms("docker", "kind", "kubectl");
  const file = readAuctionFile(env.FILE);
  if (!file.ok) {
    const [problem] = file.problems;
    throw new Error(`${env.FILE}: ${problem?.path} ${problem?.message}`);
  }
  const { auction } = file;
  const { name } = auction.metadata;
  const built = await image(env);
  const cluster = await step(`Cluster ${env.KIND_CLUSTER}`, () =>
    ensureCluster(env.KIND_CLUSTER, env.NODE_IMAGE),
  );
  const others = [env.REDIS_IMAGE, env.NATS_IMAGE, env.POSTGRES_IMAGE];
  if (env.OBSERVE) others.push(env.PROMETHEUS_IMAGE);
  const local = await localImages(others);
  await step(`Loading ${[env.IMAGE, ...local].join(", ")}`, () =>
    loadImages(cluster.name, [built.name, ...local]),
  );
  await step("Installing the operator", () => installOperator(cluster, built.name, env));
  if (env.OBSERVE) {
    await step("Installing Prometheus", () =>
      installPrometheus(cluster, { prometheus: env.PROMETHEUS_IMAGE, gavel: built.name }),
    );
  }
  await applyAuction(cluster, env.FILE, env.NAMESPACE);
  say(`Auction ${name}, from ${env.FILE}:`);
  const ready = await waitUntilReady(cluster, name, env.NAMESPACE, say);
  say(
    await kindSummary(
      cluster,
      auction,
      env.NAMESPACE,
      ready.status?.phase ?? "Pending",
      env.OBSERVE,
    ),
  );
}

async function down(env: KindEnv): Promise<void> {
  requirePrograms("kind");
  const existed = await deleteCluster(env.KIND_CLUSTER);
  say(
    existed
      ? `cluster ${env.KIND_CLUSTER} deleted`
      : `nothing to delete: there is no cluster ${env.KIND_CLUSTER}`,
  );
}

const COMMANDS: Readonly<Record<string, (env: KindEnv) => Promise<unknown>>> = { image, up, down };

const command = COMMANDS[process.argv[2] ?? ""];
if (command === undefined) {
  process.stderr.write("usage: node operator/kind/main.ts image|up|down\n");
  process.exit(2);
}
try {
  await command(readEnv(KindEnv));
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
