/** The kind cluster of the end-to-end tests, with the operator of this working tree. */
import { spawn } from "node:child_process";
import { describe } from "vitest";
import { afterFile } from "../../services/testing/after-file.ts";
import { until } from "../../services/testing/until.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { KindEnv } from "../kind/config.ts";
import { buildImage } from "../kind/image.ts";
import { installOperator } from "../kind/install-operator.ts";
import { ensureCluster, type KindCluster, loadImages, localImages } from "../kind/kind-cluster.ts";
import { findProgram } from "../../servers/find-program.ts";
import { freePort } from "../../servers/ports.ts";

export const kindEnv = readEnv(KindEnv);

/** Only a cluster that the environment names is used, never the current context of a kubeconfig. */
const isNamed = process.env["KIND_CLUSTER"] !== undefined;

if (!isNamed) {
  process.stdout.write("SKIPPED: no KIND_CLUSTER is named: nothing is tried on a real cluster\n");
}

export const onKind = describe.skipIf(!isNamed);

/** Builds the image of this working tree, loads it, and installs the operator. */
export async function operatorOnKind(
  env = kindEnv,
): Promise<{ cluster: KindCluster; image: string }> {
  const cluster = await ensureCluster(kindEnv.KIND_CLUSTER, kindEnv.NODE_IMAGE);
  const { name } = await buildImage(kindEnv.IMAGE, kindEnv.BASE);
  const { REDIS_IMAGE, NATS_IMAGE, POSTGRES_IMAGE } = env;
  const stores = await localImages([REDIS_IMAGE, NATS_IMAGE, POSTGRES_IMAGE]);
  await loadImages(cluster.name, [name, ...stores]);
  await installOperator(cluster, name, env);
  return { cluster, image: name };
}

/** Queries the Postgres that the operator runs for an Auction. @returns one line for each row, columns separated by `|` */
export async function askArchive(
  cluster: KindCluster,
  namespace: string,
  auction: string,
  statement: string,
): Promise<string> {
  const psql = `PGPASSWORD=$(cat /etc/gavel/store/password) psql -h 127.0.0.1 -U gavel gavel -At -c "${statement}"`;
  const pod = ["-n", namespace, `${auction}-postgres-0`];
  return (await cluster.kubectl(["exec", ...pod, "--", "sh", "-c", psql])).trim();
}

/** Forwards a local port to a Service's port. It ends with the pod that it is connected to. */
export async function forward(
  cluster: KindCluster,
  namespace: string,
  target: string,
  port: number,
): Promise<number> {
  const local = await freePort();
  const child = spawn(
    findProgram("kubectl")!,
    ["--context", cluster.context, "-n", namespace, "port-forward", target, `${local}:${port}`],
    { stdio: ["ignore", "pipe", "pipe"] },
  );
  afterFile(() => void child.kill());
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  await until(`${target} is forwarded`, () => {
    if (child.exitCode !== null) throw new Error(said);
    return said.includes("Forwarding from");
  });
  return local;
}
